//! The value of a large JSON answer: read here, part by part, and built by the host. It never holds more of what is
//! read than two parts. Of a body that `jiter` refuses there is no value, and the host asks its own reader, whose
//! answer counts.

use std::any::Any;
use std::collections::HashMap;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use jiter::{Jiter, JiterError, Peek};
use mountain_core::effect::Sink;
use mountain_core::error::Error;
use tokio::sync::oneshot;

/// The steps of one part: the host takes them in some half a millisecond.
const STEPS: usize = 4096;
/// The bytes of texts after which a part ends.
const TEXT: usize = 256 << 10;
/// The keys that are remembered: most objects have the same few.
const KEYS: usize = 4096;
/// The depth that is read.
const DEEPEST: usize = 200;

/// Builds a value on the host's thread, from all parts in turn.
pub trait Builder: Any + Send + Sync {
    /// False: it cannot be built.
    fn put(&mut self, part: Part) -> bool;
}

/// Some steps, and the texts that they take, one behind the other.
#[derive(Default)]
pub struct Part {
    pub steps: Vec<Step>,
    pub text: String,
}

/// A step of a body. A length is that of the next text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    Null,
    Bool(bool),
    Int(i64),
    /// A number beyond these, in decimal digits.
    Long(usize),
    Float(f64),
    Text(usize),
    /// A key that comes once more gets the next number, and one that may not gets none.
    NewKey(usize),
    OnceKey(usize),
    Key(u32),
    List,
    Object,
    /// The end of a list or an object.
    End,
}

/// Reads a body as steps.
struct Reader<'a> {
    jiter: Jiter<'a>,
    /// Whether each open container is an object.
    open: Vec<bool>,
    keys: HashMap<String, u32>,
    /// The kind of the next value, where its container has told.
    next: Option<Peek>,
    over: bool,
}

/// The body is not for this reader.
struct Refused;

impl From<JiterError> for Refused {
    fn from(_: JiterError) -> Self {
        Refused
    }
}

impl<'a> Reader<'a> {
    fn new(body: &'a [u8]) -> Self {
        Reader { jiter: Jiter::new(body), open: Vec::new(), keys: HashMap::new(), next: None, over: false }
    }

    /// The next part; an empty one after the end.
    fn part(&mut self) -> Result<Part, Refused> {
        let mut part = Part::default();
        while !self.over && part.steps.len() < STEPS && part.text.len() < TEXT {
            self.value(&mut part)?;
        }
        Ok(part)
    }

    /// One value, or the begin of a container, with all that ends behind it and the key of the next one.
    fn value(&mut self, part: &mut Part) -> Result<(), Refused> {
        let peek = match self.next.take() {
            Some(peek) => peek,
            None => self.jiter.peek()?,
        };
        let step = match peek {
            Peek::Null => {
                self.jiter.known_null()?;
                Step::Null
            }
            Peek::True | Peek::False => Step::Bool(self.jiter.known_bool(peek)?),
            Peek::String => {
                let text = self.jiter.known_str()?;
                part.text.push_str(text);
                Step::Text(text.len())
            }
            Peek::Array | Peek::Object if self.open.len() == DEEPEST => return Err(Refused),
            Peek::Array => {
                part.steps.push(Step::List);
                self.next = self.jiter.known_array()?;
                self.open.push(false);
                let is_empty = self.next.is_none();
                return if is_empty { self.close(part) } else { Ok(()) };
            }
            Peek::Object => {
                part.steps.push(Step::Object);
                self.open.push(true);
                let is_empty = match self.jiter.known_object()? {
                    Some(key) => {
                        named(&mut self.keys, key, part);
                        false
                    }
                    None => true,
                };
                return if is_empty { self.close(part) } else { Ok(()) };
            }
            number => {
                let digits = std::str::from_utf8(self.jiter.known_number_bytes(number)?).map_err(|_| Refused)?;
                if digits.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
                    Step::Float(digits.parse().map_err(|_| Refused)?)
                } else if let Ok(int) = digits.parse() {
                    Step::Int(int)
                } else {
                    part.text.push_str(digits);
                    Step::Long(digits.len())
                }
            }
        };
        part.steps.push(step);
        self.go_on(part)
    }

    fn close(&mut self, part: &mut Part) -> Result<(), Refused> {
        part.steps.push(Step::End);
        self.open.pop();
        self.go_on(part)
    }

    /// After a value: the ends of all that it was the last of.
    fn go_on(&mut self, part: &mut Part) -> Result<(), Refused> {
        loop {
            match self.open.last() {
                None => {
                    self.jiter.finish()?;
                    self.over = true;
                    return Ok(());
                }
                Some(true) => {
                    if let Some(key) = self.jiter.next_key()? {
                        named(&mut self.keys, key, part);
                        return Ok(());
                    }
                }
                Some(false) => {
                    self.next = self.jiter.array_step()?;
                    if self.next.is_some() {
                        return Ok(());
                    }
                }
            }
            part.steps.push(Step::End);
            self.open.pop();
        }
    }
}

fn named(keys: &mut HashMap<String, u32>, key: &str, part: &mut Part) {
    if let Some(&number) = keys.get(key) {
        part.steps.push(Step::Key(number));
        return;
    }
    part.text.push_str(key);
    if keys.len() == KEYS {
        part.steps.push(Step::OnceKey(key.len()));
        return;
    }
    keys.insert(key.to_owned(), keys.len() as u32);
    part.steps.push(Step::NewKey(key.len()));
}

/// Whether the headers say that a body is JSON.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind.ends_with("+json")
}

/// The value of that answer, where it is JSON. While the host builds one part the next is read.
pub(super) async fn build(
    sink: &dyn Sink,
    make: Option<fn() -> Box<dyn Builder>>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Option<Box<dyn Builder>>, Error> {
    let Some(make) = make.filter(|_| is_json(headers)) else { return Ok(None) };
    let mut builder = make();
    let mut reader = Reader::new(body);
    let Ok(mut part) = reader.part() else { return Ok(None) };
    while !part.steps.is_empty() {
        let (give, given) = oneshot::channel();
        sink.on_host(Box::new(move || {
            // The request was cancelled meanwhile: the value goes, and no part is added.
            let is_built = !give.is_closed() && builder.put(part);
            drop(give.send(is_built.then_some(builder)));
        }));
        let next = reader.part();
        let Some(built) = given.await.map_err(|_| Error::Cancelled)? else { return Ok(None) };
        let Ok(next) = next else { return Ok(None) };
        (builder, part) = (built, next);
    }
    Ok(Some(builder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(body: &str) -> Option<Vec<Step>> {
        let mut reader = Reader::new(body.as_bytes());
        let mut all = Vec::new();
        while !reader.over {
            all.extend(reader.part().ok()?.steps);
        }
        Some(all)
    }

    #[test]
    fn a_body_is_read_in_steps() {
        use Step::{Bool, End, Float, Int, Key, List, Long, NewKey, Null, Object, Text};
        let body = r#" {"a": [1, -0, 1e3, 99999999999999999999, {"a": "x\n"}], "b": {}, "c": [], "a": [null, true]} "#;
        let all = [Object, NewKey(1), List, Int(1), Int(0), Float(1000.0), Long(20), Object, Key(0), Text(2), End, End];
        let rest = [NewKey(1), Object, End, NewKey(1), List, End, Key(0), List, Null, Bool(true), End, End];
        assert_eq!(steps(body), Some([all, rest].concat()));
        assert_eq!(steps("1"), Some(vec![Int(1)]));
        for refused in ["", "[", "[1,]", "{\"a\"}", "NaN", "[1] 2", "\"\\ud800\"", "\u{feff}1", "01", "1.", "\"\t\""] {
            assert_eq!(steps(refused), None, "{refused:?}");
        }
        let deep = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(steps(&deep(DEEPEST)).map(|steps| steps.len()), Some(2 * DEEPEST));
        assert_eq!(steps(&deep(DEEPEST + 1)), None);
    }

    #[test]
    fn the_memory_of_a_part_and_of_the_keys_is_bounded() {
        let body = format!("[{}0]", "0,".repeat(10 * STEPS));
        let mut reader = Reader::new(body.as_bytes());
        while !reader.over {
            assert!(reader.part().is_ok_and(|part| part.steps.len() <= STEPS + DEEPEST));
        }
        let members: Vec<_> = (0..2 * KEYS).map(|number| format!("\"{number}\":0")).collect();
        let body = format!("{{{}}}", members.join(","));
        let mut reader = Reader::new(body.as_bytes());
        while !reader.over {
            assert!(reader.part().is_ok());
        }
        assert_eq!(reader.keys.len(), KEYS);
    }

    #[test]
    fn its_headers_say_that_a_body_is_json() {
        for (kind, json) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/problem+json", true),
            ("application/jsonlines", false),
            ("text/plain", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind.parse().unwrap())]);
            assert_eq!(is_json(&headers), json, "{kind}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
