//! Whether a server and the core see the same requests.

use balancer_fuzz::stream::{Message, Side, Stream};

/// A request as a server saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Method and target; `None` if the server refused the request without saying what it was.
    pub(crate) line: Option<String>,
    /// Bytes of its content, if the server read it to its end and says so.
    pub(crate) content: Option<u64>,
    /// The version that answered, if it has one.
    pub(crate) version: Option<String>,
}

/// What a server did with a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    pub(crate) seen: Vec<Seen>,
    /// It closed the connection. If not, it waits for more.
    pub(crate) closed: bool,
}

/// How far the two agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agreement {
    /// Both see the same requests, the marker among them.
    Same,
    /// The server refuses what the core follows: nobody is misled.
    Refused,
    /// The core does not follow, from there on the server may see what it likes.
    Unframed,
    /// Both wait for the rest of a request.
    Waits,
}

/// Compares them; an error says where they disagree.
pub(crate) fn judge(bytes: &[u8], run: &Run) -> Result<Agreement, String> {
    let core = Stream::read(Side::Request, bytes);
    for (index, seen) in run.seen.iter().enumerate() {
        let Some(message) = core.messages.get(index) else {
            if core.end.is_some() {
                return Ok(Agreement::Unframed);
            }
            return Err(format!("request {index} is none to the core: {seen:?}"));
        };
        if seen.line.as_ref().is_some_and(|line| *line != normal(message)) {
            return Err(format!("request {index} is {seen:?}, and {:?} to the core", normal(message)));
        }
        match (message.end, seen.content) {
            (Some(_), Some(content)) if content != message.content => {
                return Err(format!("request {index} has {content} bytes, and {} to the core", message.content));
            }
            (None, _) if core.end.is_some() => return Ok(Agreement::Unframed),
            (None, Some(_)) => return Err(format!("request {index} ends, and does not to the core")),
            _ => {}
        }
    }
    let whole = core.messages.iter().filter(|message| message.end.is_some()).count();
    if run.seen.len() >= whole {
        return Ok(match core.end {
            Some(_) => Agreement::Unframed,
            None if core.at_boundary() => Agreement::Same,
            None => Agreement::Waits,
        });
    }
    if run.closed {
        return Ok(Agreement::Refused);
    }
    Err(format!("the server waits, and the core has seen the end of request {}", run.seen.len()))
}

/// Method and path as servers tell them: of the absolute form the path alone, and no fragment.
fn normal(message: &Message) -> String {
    let line = String::from_utf8_lossy(&message.line).into_owned();
    let (method, rest) = line.split_once(' ').unwrap_or((&line, ""));
    let target = rest.rsplit_once(' ').map_or(rest, |(target, _)| target);
    format!("{method} {}", path(target))
}

/// The path of a target in any form.
pub(crate) fn path(target: &str) -> &str {
    let target = target.split(['?', '#']).next().unwrap_or(target);
    match target.split_once("://") {
        Some((scheme, rest)) if !scheme.starts_with('/') => rest.find('/').map_or("/", |slash| &rest[slash..]),
        _ => target,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &[u8] = b"POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nxyGET http://h/b?c HTTP/1.1\r\n\r\n";

    fn seen(line: &str, content: u64) -> Seen {
        Seen { line: Some(line.into()), content: Some(content), version: None }
    }

    #[test]
    fn agreement_is_the_same_requests() {
        let both = vec![seen("POST /a", 2), seen("GET /b", 0)];
        let judge = |bytes, seen: &[Seen], closed| judge(bytes, &Run { seen: seen.to_vec(), closed });
        assert_eq!(judge(TWO, &both, false), Ok(Agreement::Same));
        assert_eq!(judge(TWO, &both[..1], true), Ok(Agreement::Refused));
        assert_eq!(judge(TWO, &[Seen::default()], true), Ok(Agreement::Refused));
        assert_eq!(judge(&TWO[..45], &both[..1], false), Ok(Agreement::Waits));
        let strange =
            [b"POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nxy", &b"\r\nGET /b HTTP/1.1\r\n\r\n"[..]].concat();
        assert_eq!(judge(&strange, &both, false), Ok(Agreement::Unframed));
    }

    #[test]
    fn disagreement_is_noticed() {
        let wrong: [(&[Seen], bool, &str); 5] = [
            (&[seen("POST /a", 2), seen("GET /b", 0), seen("GET /c", 0)], true, "is none to the core"),
            (&[seen("POST /a", 2), seen("GET /c", 0)], true, "and \"GET /b\" to the core"),
            (&[seen("POST /a", 3)], true, "and 2 to the core"),
            (&[seen("POST /a", 2)], false, "the server waits"),
            (&[Seen { content: None, ..seen("POST /a", 0) }], false, "the server waits"),
        ];
        for (seen, closed, why) in wrong {
            let told = judge(TWO, &Run { seen: seen.to_vec(), closed }).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
        let told = judge(&TWO[..40], &Run { seen: vec![seen("POST /a", 0)], closed: false }).unwrap_err();
        assert!(told.contains("does not to the core"), "{told}");
    }
}
