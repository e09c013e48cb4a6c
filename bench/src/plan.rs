//! What request number `n` of a workload is: a pure function of workload, seed and `n`, so that a run can be made
//! again whatever the timing. It sends nothing.

use std::io::Write as _;

use crate::mapping::code_of;
use crate::rng::Rng;
use crate::workload::{Methods, Workload};
use crate::zipf::Zipf;

/// What is done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// Sent, and the answer read.
    Normal,
    /// Sent, and the connection closed at once.
    HangUp,
    /// Sent, and the connection closed after whatever comes back: its state is unknown.
    Malformed,
}

/// A request ready to be sent; its buffer is used again for the next.
#[derive(Debug, Default)]
pub struct Request {
    /// What goes over the wire.
    pub bytes: Vec<u8>,
    /// For the report.
    pub kind: &'static str,
    /// For the report; `HEAD` also says that the answer has no body.
    pub method: &'static str,
    /// What is done with it.
    pub conduct: Option<Conduct>,
}

/// Makes the requests of a run.
pub trait Requests: Send + Sync {
    /// Fills in request number `index`.
    fn fill(&self, index: u64, request: &mut Request);
}

/// User agents of people and of crawlers as they are seen in the wild.
const BROWSERS: [&str; 4] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 \
     Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
];
const BOTS: [&str; 3] = [
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
];

/// Bytes of a header line that no sane client sends; servers commonly stop at 8 KB.
const LONG_LINE_BYTES: usize = 9_000;

/// Name for the report, and the bytes; `{host}` is the only thing that has to be right.
const MALFORMED: [(&str, &[u8]); 7] = [
    ("no request line", b"GARBAGE\r\n\r\n"),
    ("control character", b"GET /\x01\x00a HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("raw bytes in path", b"GET /\xff\xfe HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("invalid UTF-8 in path", b"GET /%ff%fe HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("wrong version", b"GET / HTTP/9.9\r\nHost: h\r\n\r\n"),
    ("two lengths", b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    ("header without name", b"GET /a HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n"),
];

/// The requests of a workload.
#[derive(Debug)]
pub struct Plan {
    workload: Workload,
    seed: u64,
    host: String,
    codes: Vec<String>,
    popularity: Zipf,
}

impl Plan {
    /// For links that exist under `codes`, sent to `host`.
    #[must_use]
    pub fn new(workload: &Workload, seed: u64, host: &str, codes: Vec<String>) -> Self {
        let popularity = Zipf::new(codes.len(), workload.links.zipf_exponent);
        Self { workload: workload.clone(), seed, host: host.to_owned(), codes, popularity }
    }

    fn malformed(&self, rng: &mut Rng, request: &mut Request) {
        // One more than the list: the header line that is too long.
        let chosen = rng.below(MALFORMED.len() + 1);
        request.conduct = Some(Conduct::Malformed);
        request.method = "-";
        if let Some((kind, bytes)) = MALFORMED.get(chosen) {
            request.kind = kind;
            request.bytes.extend_from_slice(bytes);
        } else {
            request.kind = "long header line";
            let line = "a".repeat(LONG_LINE_BYTES);
            // Writing to a vector cannot fail; so below.
            let _ = write!(request.bytes, "GET /a HTTP/1.1\r\nHost: {}\r\nX-Long: {line}\r\n\r\n", self.host);
        }
    }
}

impl Requests for Plan {
    fn fill(&self, index: u64, request: &mut Request) {
        let mix = &self.workload.mix;
        let mut rng = Rng::new(self.seed, index);
        request.bytes.clear();
        let kind = rng.unit();
        if kind < mix.malformed_share {
            return self.malformed(&mut rng, request);
        }
        let hang_up = kind < mix.malformed_share + mix.hang_up_share;
        let unknown = kind >= 1.0 - mix.unknown_share || self.codes.is_empty();
        request.method = method(&self.workload.methods, rng.unit());
        let agents: &[&str] = if rng.chance(mix.bot_share) { &BOTS } else { &BROWSERS };
        let agent = agents[rng.below(agents.len())];
        let made_up;
        let code = if unknown {
            made_up = code_of(&format!("unknown {} {index}", self.seed));
            &made_up
        } else {
            &self.codes[self.popularity.rank(rng.unit())]
        };
        let _ = write!(
            request.bytes,
            "{} /{code} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {agent}\r\n",
            request.method, self.host
        );
        let length = if request.method == "POST" { "Content-Length: 0\r\n\r\n" } else { "\r\n" };
        request.bytes.extend_from_slice(length.as_bytes());
        (request.kind, request.conduct) = match (hang_up, unknown) {
            (true, _) => ("hang-up", Some(Conduct::HangUp)),
            (false, true) => ("unknown", Some(Conduct::Normal)),
            (false, false) => ("known", Some(Conduct::Normal)),
        };
    }
}

fn method(weights: &Methods, unit: f64) -> &'static str {
    let wanted = unit * (weights.get + weights.head + weights.post);
    if wanted < weights.get {
        "GET"
    } else if wanted < weights.get + weights.head {
        "HEAD"
    } else {
        "POST"
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Plan, Request, Requests};
    use crate::workload::Workload;

    fn kinds(text: &str, requests: u64) -> BTreeMap<(&'static str, &'static str), u64> {
        let workload = Workload::parse(text).unwrap();
        let plan = Plan::new(&workload, 1, "h", vec!["a".to_owned(), "b".to_owned()]);
        let (mut request, mut again) = (Request::default(), Request::default());
        let mut found = BTreeMap::new();
        for index in 0..requests {
            plan.fill(index, &mut request);
            plan.fill(index, &mut again);
            assert_eq!(request.bytes, again.bytes);
            *found.entry((request.kind, request.method)).or_default() += 1;
        }
        found
    }

    #[test]
    fn shares_are_kept() {
        let text = "[mix]\nunknown_share = 0.3\nhang_up_share = 0.2\n[methods]\nget = 1\nhead = 1";
        let found = kinds(text, 20_000);
        // Five standard deviations of 20,000 draws at 1/4 are 306.
        for (key, wanted) in
            [(("known", "GET"), 5_000_u64), (("unknown", "HEAD"), 3_000), (("hang-up", "GET"), 2_000)]
        {
            assert!(found[&key].abs_diff(wanted) < 306, "{found:?}");
        }
    }

    #[test]
    fn every_kind_of_malformed_request_comes() {
        assert_eq!(kinds("[mix]\nunknown_share = 0\nmalformed_share = 1", 500).len(), 8);
    }

    #[test]
    fn a_request_is_http() {
        let workload =
            Workload::parse("[mix]\nunknown_share = 0\nbot_share = 1\n[methods]\nget=0\nhead=0\npost=1")
                .unwrap();
        let plan = Plan::new(&workload, 1, "h:1", vec!["abc".to_owned()]);
        let mut request = Request::default();
        plan.fill(0, &mut request);
        let text = String::from_utf8(request.bytes).unwrap();
        assert!(text.starts_with("POST /abc HTTP/1.1\r\nHost: h:1\r\nUser-Agent: "), "{text}");
        assert!(text.to_lowercase().contains("bot") && text.ends_with("Content-Length: 0\r\n\r\n"), "{text}");
    }
}
