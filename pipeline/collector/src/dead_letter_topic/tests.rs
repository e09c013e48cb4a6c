use super::*;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use event_log::{ContentType, Schema};

use crate::intent::Intent;
use crate::policy::Policy;

/// Keeps what it is sent; takes no message larger than `bytes_max`.
struct Topic {
    bytes_max: usize,
    taken: Mutex<Vec<Message>>,
}

#[async_trait]
impl Producer for Topic {
    async fn append(&self, messages: Vec<Message>) -> Result<(), AppendError> {
        for message in messages {
            let bytes = message.payload.len();
            if bytes > self.bytes_max {
                return Err(AppendError::TooLarge { bytes, bytes_max: self.bytes_max });
            }
            self.taken.lock().unwrap().push(message);
        }
        Ok(())
    }
}

fn range() -> Range {
    let policy = Arc::new(Policy::load(None).unwrap());
    Range {
        system: "kafka",
        topic: "hoplog.events.v1".into(),
        partition: 3,
        first: 40,
        records: Arc::from([]),
        intent: Intent::new(49, policy.version().to_owned(), 1_763_764_625_000_000, true),
        policy,
        replay: false,
    }
}

fn letter(line: u32, raw: impl Into<Bytes>) -> Letter {
    Letter {
        offset: 42,
        line,
        events: 1,
        reason: "syntax",
        detail: "expected a value".to_owned(),
        schema: Schema::Events,
        content_type: ContentType::Ndjson,
        raw: raw.into(),
        appended_at_us: 1_763_764_620_000_000,
    }
}

/// What arrives of letters in a topic that takes messages of so many bytes, as messages of lines.
async fn sent(letters: &[Letter], bytes_max: usize) -> (Result<usize, AppendError>, Vec<Vec<String>>) {
    let topic = Arc::new(Topic { bytes_max, taken: Mutex::default() });
    let mut count = 0;
    let outcome = DeadLetterTopic(Arc::<Topic>::clone(&topic)).send(&range(), letters, &mut count).await;
    let taken = topic.taken.lock().unwrap();
    let lines = |message: &Message| {
        assert_eq!((&message.schema, message.events), (&Schema::DeadLetter, 0));
        String::from_utf8(message.payload.to_vec()).unwrap().lines().map(str::to_owned).collect()
    };
    (outcome.map(|()| count), taken.iter().map(lines).collect())
}

#[tokio::test]
async fn the_envelope_is_this() {
    let (count, messages) = sent(&[letter(1, "{\"oops\n"), letter(2, &b"\xff\x00"[..])], 1 << 20).await;
    assert_eq!(count.unwrap(), 2);
    insta::assert_snapshot!(messages.concat().join("\n"), @r#"
    {"id":"hoplog.events.v1:3:42:1","topic":"hoplog.events.v1","partition":3,"offset":42,"line":1,"events":1,"reason":"syntax","detail":"expected a value","schema":"hoplog.event.v1","content_type":"application/x-ndjson","appended_at":"2025-11-21T22:37:00.000000Z","collected_at":"2025-11-21T22:37:05.000000Z","raw":"{\"oops\n"}
    {"id":"hoplog.events.v1:3:42:2","topic":"hoplog.events.v1","partition":3,"offset":42,"line":2,"events":1,"reason":"syntax","detail":"expected a value","schema":"hoplog.event.v1","content_type":"application/x-ndjson","appended_at":"2025-11-21T22:37:00.000000Z","collected_at":"2025-11-21T22:37:05.000000Z","raw_base64":"/wA="}
    "#);
}

#[tokio::test]
async fn what_is_too_large_is_split_and_then_cut() {
    // The worst: each byte becomes six, with headers as large as a message.
    let huge = Letter {
        schema: Schema::Other("é".repeat(2_000_000).into()),
        detail: "d".repeat(2_000_000),
        ..letter(3, vec![1; 2_000_000])
    };
    let letters = [letter(1, vec![b'x'; 600_000]), letter(2, vec![b'y'; 600_000]), huge, letter(4, "{")];
    for bytes_max in [1 << 20, 100_000, 8000] {
        let (count, messages) = sent(&letters, bytes_max).await;
        assert_eq!(count.unwrap(), 4, "{bytes_max}");
        let lines = messages.concat();
        for (line, number) in lines.iter().zip(1..) {
            assert!(line.contains(&format!(":3:42:{number}\"")), "{number}");
            let cut = number == 3 || (number < 3 && bytes_max < 600_000);
            assert_eq!(line.contains("\"raw_truncated\":true"), cut, "{number} of {bytes_max}");
        }
        assert_eq!(lines.len(), 4);
    }
    let (count, messages) = sent(&letters, 1000).await;
    assert!(matches!(count, Err(AppendError::TooLarge { .. })));
    assert_eq!(messages.len(), 0);
}
