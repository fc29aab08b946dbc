//! Where texts meet in tokens, and what a model's identity says of it: a model with a BOS and a tokenizer of
//! SentencePiece's kind (`golden/sentence-piece.json`: `1` is 3, `▁1` is 6, `a` 5, `▁a` 7, `=` 4, `<s>` 0,
//! `</s>` 1) through labeler, dialogue and export.

use rlaif_job::SamplingConfig;
use rlaif_judge::{Engine, LocalEngine, Question};
use rlaif_models::{
    Answer, Ask, CausalLm, ChatTemplate, Checkpoint, DeviceName, Error, GenerateRequest,
    Generation, LanguageModel, ModelInfo, ScoreRequest, Tokenizer,
};
use rlaif_template::Layout;
use rlaif_types::{ContentHash, Prompt};
use rlaif_worker::Dialogue;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// A folder of `golden/`, to be changed.
fn copied(into: &Path, name: &str) -> PathBuf {
    let to = into.join(name);
    std::fs::create_dir(&to).unwrap();
    for file in std::fs::read_dir(golden().join(name)).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
    to
}

/// A tiny model with a tokenizer of SentencePiece's kind.
fn sentence_piece(into: &Path) -> PathBuf {
    let folder = copied(into, "tiny-llama");
    std::fs::copy(golden().join("sentence-piece.json"), folder.join("tokenizer.json")).unwrap();
    folder
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn hash(folder: &Path) -> ContentHash {
    Checkpoint::open(folder).unwrap().hash
}

/// Keeps what it is asked; to it everything is as likely as anything else.
struct Listener {
    tokenizer: Tokenizer,
    chat_template: Option<ChatTemplate>,
    info: ModelInfo,
    asked: Mutex<Vec<ScoreRequest>>,
}

impl Listener {
    fn with(checkpoint: Checkpoint) -> Arc<Self> {
        let info = ModelInfo {
            name: checkpoint.name,
            hash: checkpoint.hash,
            context_length: checkpoint.config.max_position_embeddings,
            parameters: 0,
        };
        Arc::new(Self {
            tokenizer: checkpoint.tokenizer,
            chat_template: checkpoint.chat_template,
            info,
            asked: Mutex::default(),
        })
    }
}

impl LanguageModel for Listener {
    fn score_after(
        &self,
        _beginning: usize,
        requests: Vec<ScoreRequest>,
    ) -> Result<Vec<Answer>, Error> {
        let answer = |request: &ScoreRequest| match &request.ask {
            Ask::Next { candidates } => Answer::Next(vec![-2.0; candidates.len()]),
            other => panic!("asked for {other:?}"),
        };
        let answers = requests.iter().map(answer).collect();
        self.asked.lock().unwrap().extend(requests);
        Ok(answers)
    }

    fn generate(&self, requests: Vec<GenerateRequest>) -> Result<Vec<Generation>, Error> {
        assert!(requests.is_empty(), "no rationale is asked for");
        Ok(Vec::new())
    }

    fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    fn chat_template(&self) -> Option<&ChatTemplate> {
        self.chat_template.as_ref()
    }

    fn info(&self) -> &ModelInfo {
        &self.info
    }
}

/// The one request that a question of two verdicts in one token each makes.
fn asked(checkpoint: Checkpoint, layout: Layout) -> ScoreRequest {
    let listener = Listener::with(checkpoint);
    let question = Question {
        shown: "a ".to_owned(),
        fixed: 0,
        begun: "a=".to_owned(),
        layout,
        verdicts: vec!["1".to_owned(), "a".to_owned()].into(),
        thought: None,
    };
    LocalEngine::new(listener.clone()).read(&[question]);
    let mut requests = std::mem::take(&mut *listener.asked.lock().unwrap());
    assert_eq!(requests.len(), 1);
    requests.remove(0)
}

/// Each with and without a space before it; none with two.
const CANDIDATES: [u32; 4] = [3, 6, 5, 7];

fn request(tokens: &[u32]) -> ScoreRequest {
    let ask = Ask::Next { candidates: CANDIDATES.to_vec() };
    ScoreRequest { tokens: tokens.to_vec(), ask }
}

#[test]
fn a_labeler_reads_a_text_after_a_bos_and_verdicts_that_go_on_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::open(&sentence_piece(dir.path())).unwrap();
    assert_eq!(asked(checkpoint, Layout::Text), request(&[0, 7, 7, 4]));
}

#[test]
fn a_labeler_that_chats_reads_one_bos_and_an_answer_that_goes_on_from_its_turn() {
    let dir = tempfile::tempdir().unwrap();
    let folder = sentence_piece(dir.path());
    let template = "{{ bos_token }}a{{ messages[0]['content'] }}=";
    std::fs::write(folder.join("chat_template.jinja"), template).unwrap();
    let checkpoint = Checkpoint::open(&folder).unwrap();
    // `<s>`, `▁a`; the user's `a `; `=`; what is begun.
    assert_eq!(asked(checkpoint, Layout::Chat), request(&[0, 7, 5, 2, 4, 5, 4]));
}

/// What fine-tuning, preferences, reward models, rollouts and evaluations have in common.
#[test]
fn a_response_goes_on_from_its_prompt_which_begins_with_a_bos() {
    let dir = tempfile::tempdir().unwrap();
    let folder = sentence_piece(dir.path());
    let dialogue = Dialogue::of(&Checkpoint::open(&folder).unwrap(), false).unwrap();
    assert_eq!(dialogue.prompt(&Prompt::Text("a=".into()), 2).unwrap(), [0, 7, 4]);
    assert_eq!(dialogue.response("1"), [3, 1]);
    assert!(dialogue.prompt(&Prompt::Text(String::new()), 2).is_err(), "a BOS is no prompt");
}

#[test]
fn an_exported_model_begins_texts_as_the_one_that_learned() {
    let dir = tempfile::tempdir().unwrap();
    let folder = sentence_piece(dir.path());
    let mut definition = json_of(&folder.join("tokenizer.json"));
    definition["post_processor"] = Value::Null;
    std::fs::write(folder.join("tokenizer.json"), definition.to_string()).unwrap();
    let settings = json!({"add_bos_token": true}).to_string();
    std::fs::write(folder.join("tokenizer_config.json"), settings).unwrap();
    let checkpoint = Checkpoint::open(&folder).unwrap();
    let device = DeviceName::Cpu.open().unwrap();
    let model = CausalLm::load(&checkpoint, &device, burn::tensor::DType::F32).unwrap();
    let exported = dir.path().join("exported");
    model.save(&exported, &checkpoint).unwrap();

    let again = Checkpoint::open(&exported).unwrap().tokenizer;
    for tokenizer in [&checkpoint.tokenizer, &again] {
        assert_eq!(tokenizer.encode_text("1"), [0, 6]);
        assert_eq!(tokenizer.encode_continuation("1"), [3]);
    }
    // Other readers know it by the post-processor.
    let definition = json_of(&exported.join("tokenizer.json"));
    assert_eq!(definition["post_processor"]["single"][0]["SpecialToken"]["id"], "<s>");
}

/// As Llama 3's instruct models, which list `<|end_of_text|>` first and end their turns with `<|eot_id|>`.
#[test]
fn a_text_is_ended_with_the_tokenizers_eos_token_and_an_export_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let folder = copied(dir.path(), "tiny-llama");
    std::fs::write(folder.join("chat_template.jinja"), "{{ eos_token }}").unwrap();
    let settings = |eos_token_id: Value, eos_token: Value| {
        let mut config = json_of(&folder.join("config.json"));
        config["eos_token_id"] = eos_token_id;
        std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
        let settings = json!({"eos_token": eos_token}).to_string();
        std::fs::write(folder.join("tokenizer_config.json"), settings).unwrap();
        Checkpoint::open(&folder).unwrap()
    };
    // Among the ends, or beside them; without one the configuration's order stays.
    let added = json!({"__type": "AddedToken", "content": "</s>"});
    for (ids, token, ends) in [
        (json!([0, 1]), json!("</s>"), &[1, 0][..]),
        (json!([0, 1]), added, &[1, 0]),
        (json!(0), json!("</s>"), &[1, 0]),
        (json!([1, 0]), json!("</s>"), &[1, 0]),
        (json!([0, 1]), Value::Null, &[0, 1]),
        (json!([0, 1]), json!("<|no such token|>"), &[0, 1]),
    ] {
        let checkpoint = settings(ids.clone(), token.clone());
        assert_eq!(checkpoint.tokenizer.eos_ids(), ends, "{ids} {token}");
        assert_eq!(checkpoint.config.eos_token_ids, ends, "{ids} {token}");
    }

    let checkpoint = settings(json!([0, 1]), json!("</s>"));
    let dialogue = Dialogue::of(&checkpoint, false).unwrap();
    assert_eq!(dialogue.response("a").last(), Some(&1));
    let request = dialogue.request(vec![5], &SamplingConfig::default(), 0);
    assert_eq!(request.sampling.stop_tokens, [1, 0], "a rollout ends with either");
    let template = checkpoint.chat_template.as_ref().unwrap();
    assert_eq!(template.encode(&checkpoint.tokenizer, &[], true).unwrap(), [1]);

    let device = DeviceName::Cpu.open().unwrap();
    let model = CausalLm::load(&checkpoint, &device, burn::tensor::DType::F32).unwrap();
    let exported = dir.path().join("exported");
    model.save(&exported, &checkpoint).unwrap();
    assert_eq!(json_of(&exported.join("tokenizer_config.json"))["eos_token"], "</s>");
    assert_eq!(Checkpoint::open(&exported).unwrap().tokenizer.eos_ids(), [1, 0]);
}

#[test]
fn a_tokenizer_that_puts_nothing_before_a_text_is_saved_as_it_was_before() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::open(&golden().join("tiny-llama")).unwrap();
    checkpoint.tokenizer.save(dir.path()).unwrap();
    let saved = json_of(&dir.path().join("tokenizer.json"));
    let mut original = json_of(&golden().join("tiny-llama/tokenizer.json"));
    original["post_processor"] = Value::Null;
    assert_eq!(saved["post_processor"], original["post_processor"]);
    assert_eq!(saved["pre_tokenizer"], original["pre_tokenizer"]);
    assert_eq!(saved["model"]["vocab"], original["model"]["vocab"]);
}

/// Else labels of before would be served for a model that is asked in another way now.
#[test]
fn a_chat_template_is_part_of_what_a_model_is() {
    let dir = tempfile::tempdir().unwrap();
    let model = copied(dir.path(), "tiny-llama");
    let adapter = copied(dir.path(), "tiny-adapter");
    let hashes = || [&model, &adapter].map(|folder| hash(folder));
    let write = |folder: &Path, template: &str| {
        std::fs::write(folder.join("chat_template.jinja"), template).unwrap();
    };
    let without = hashes();
    write(&model, "{{ messages[0]['content'] }}");
    let with = hashes();
    assert_ne!(with[0], without[0]);
    assert_ne!(with[1], without[1], "an adapter is asked by its base's template");
    write(&model, "{{ messages[0]['content'] }}{{ eos_token }}");
    assert_ne!(hashes()[0], with[0]);
    write(&model, "{{ messages[0]['content'] }}");
    assert_eq!(hashes(), with, "the same again is the same");

    write(&adapter, "{{ messages[0]['content'] }}\n");
    let own = hashes();
    assert_eq!(own[0], with[0]);
    assert_ne!(own[1], with[1]);
}

#[test]
fn a_bos_is_part_of_what_a_model_is() {
    let dir = tempfile::tempdir().unwrap();
    let model = copied(dir.path(), "tiny-llama");
    let without = hash(&model);
    assert_eq!(without, hash(&golden().join("tiny-llama")), "where it lies is not");
    let settings = |add_bos_token: bool| {
        let settings = json!({"add_bos_token": add_bos_token}).to_string();
        std::fs::write(model.join("tokenizer_config.json"), settings).unwrap();
    };
    settings(false);
    assert_eq!(hash(&model), without);
    settings(true);
    assert_ne!(hash(&model), without);
}
