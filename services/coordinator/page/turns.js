// Runs `work` once at a time; whatever asks for it meanwhile is served by one more run after that.
export function inTurn(work) {
  let running = null;
  let again = false;
  async function run() {
    try {
      do {
        again = false;
        await work();
      } while (again);
    } finally {
      running = null;
    }
  }
  return () => {
    again = true;
    running ??= run();
    return running;
  };
}
