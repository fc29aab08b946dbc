//! Redis's append-only file as the history that it is.

use std::path::Path;

/// The commands in a folder of append-only files, which begins with an empty base.
pub fn commands(folder: &Path) -> Vec<Vec<Vec<u8>>> {
    let names = std::fs::read_dir(folder).expect("redis keeps its append-only files in a folder");
    let mut increments: Vec<_> = names
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| path.to_string_lossy().ends_with(".incr.aof"))
        .collect();
    let increment = increments.pop().expect("redis writes an append-only file");
    assert!(increments.is_empty(), "{} was rewritten", folder.display());
    parse(&std::fs::read(increment).expect("the append-only file can be read"))
}

/// Commands in Redis's protocol, as far as they are whole: the last one may be in the making.
fn parse(mut rest: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut commands = Vec::new();
    while let Some(command) = command(&mut rest) {
        commands.push(command);
    }
    commands
}

fn command(rest: &mut &[u8]) -> Option<Vec<Vec<u8>>> {
    let words = number(rest, b'*')?;
    (0..words)
        .map(|_| {
            let length = number(rest, b'$')?;
            let word = rest.get(..length)?.to_vec();
            // Behind the word is an end of line.
            *rest = rest.get(length + 2..)?;
            Some(word)
        })
        .collect()
}

/// The number of a line that begins with `kind`.
fn number(rest: &mut &[u8], kind: u8) -> Option<usize> {
    let end = rest.windows(2).position(|two| two == b"\r\n")?;
    let digits = rest[..end].strip_prefix(&[kind])?;
    *rest = &rest[end + 2..];
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use crate::RedisServer;

    #[test]
    fn the_history_is_what_was_written_in_order_across_a_kill() {
        let mut server = RedisServer::start_with(&["--appendfsync", "always"]);
        let set = |server: &RedisServer, value: &str| {
            redis::cmd("SET").arg("key").arg(value).exec(&mut server.connection()).unwrap();
        };
        set(&server, "one\r\n*1");
        server.restart();
        set(&server, "two");
        let history = server.history();
        let sets: Vec<_> = history.iter().filter(|words| words[0] == b"SET").collect();
        let expected =
            ["one\r\n*1", "two"].map(|v| ["SET", "key", v].map(|w| w.as_bytes().to_vec()));
        assert_eq!(
            sets,
            expected.each_ref().map(|words| words.to_vec()).iter().collect::<Vec<_>>()
        );
    }
}
