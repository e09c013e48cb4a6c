//! A day of traffic with an incident in it: at six in the evening a version is rolled out with which the link store
//! answers late or not at all; an hour later it is mended. Deterministic, but for when the day ends.

use fastrand::Rng;
use wide_event::{Cache, Event, Host, Network, Orphan, Outcome, SpanId, Text, Timestamp, TraceId, Visitor};

pub(crate) const MINUTES: usize = 24 * 60;
/// The minute of the bad deployment, and that of its repair.
const DEPLOYED: usize = 18 * 60;
const MENDED: usize = 19 * 60;
/// Their names, in the order in which they ran.
pub(crate) const VERSIONS: [&str; 3] = ["1.4.1", "1.4.2", "1.4.3"];
pub(crate) const INSTANCES: [&str; 2] = ["shortener-1", "shortener-2"];
const BOOTS: [&str; 2] = ["019aa3a0-0000-7000-8000-000000000001", "019aa3a0-0000-7000-8000-000000000002"];

/// Routes and how often they are asked for, of a thousand requests.
pub(crate) const ROUTES: [(&str, u32); 6] = [
    ("/{code}", 900),
    ("/{code}+", 15),
    ("/", 15),
    ("/rest/v3/short-urls", 40),
    ("/rest/v3/short-urls/{short_code}", 20),
    ("/rest/v3/visits", 10),
];

/// Whether things go wrong.
pub(crate) fn is_bad(minute: usize) -> bool {
    (DEPLOYED..MENDED).contains(&minute)
}

/// How busy it is, from a third at night to one in the afternoon.
pub(crate) fn busy(minute: usize) -> f64 {
    let turn = std::f64::consts::TAU * (minute as f64 / MINUTES as f64 - 0.65);
    0.66 + 0.34 * turn.cos()
}

/// A request, before it is an event or a count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    pub(crate) number: u64,
    pub(crate) at_us: i64,
    pub(crate) route: usize,
    pub(crate) outcome: Outcome,
    pub(crate) status: u16,
    pub(crate) instance: usize,
    pub(crate) version: &'static str,
    pub(crate) duration_us: u64,
    pub(crate) error_type: &'static str,
    pub(crate) cache: Cache,
    random: u64,
}

impl Request {
    /// Whether it counts as a click: somebody was redirected, here by GET alone.
    pub(crate) fn is_click(&self) -> bool {
        self.route == 0 && self.outcome == Outcome::Ok
    }
}

/// Makes the requests, minute by minute.
pub(crate) struct Day {
    rng: Rng,
    start_us: i64,
    made: u64,
}

impl Day {
    /// A day that begins then, in seconds since the Unix epoch.
    pub(crate) fn from(start_s: i64) -> Self {
        Self { rng: Rng::with_seed(18), start_us: start_s * 1_000_000, made: 0 }
    }

    /// Requests of a minute, in the order of time; `most` in the busiest.
    pub(crate) fn minute(&mut self, minute: usize, most: f64) -> Vec<Request> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some hundreds")]
        let count = (busy(minute) * most) as usize;
        let mut requests: Vec<_> = (0..count).map(|_| self.request(minute)).collect();
        requests.sort_by_key(|request| request.at_us);
        requests
    }

    fn request(&mut self, minute: usize) -> Request {
        let mut pick = self.rng.u32(0..1000);
        let fits = |(_, share): &(&str, u32)| {
            let fits = pick < *share;
            pick = pick.wrapping_sub(*share);
            fits
        };
        let route = ROUTES.iter().position(fits).unwrap_or_default();
        let (outcome, status, error_type) = self.end(minute, route);
        self.made += 1;
        let typical_us = match (is_bad(minute), route) {
            (false, 0..=2) => 150.0,
            (false, _) => 4_000.0,
            (true, 0..=2) => 900.0,
            (true, _) => 60_000.0,
        };
        // Most take about as long, one in a hundred ten times as long.
        let factor = 0.5 / (1.0 - self.rng.f64()).max(1e-3).sqrt();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below a minute")]
        let duration_us = match outcome {
            Outcome::ServerError => 5_000_000,
            _ => (typical_us * factor) as u64,
        };
        Request {
            number: self.made,
            at_us: self.start_us + minute as i64 * 60_000_000 + self.rng.i64(0..60_000_000),
            route,
            outcome,
            status,
            instance: self.rng.usize(0..INSTANCES.len()),
            version: VERSIONS[usize::from(minute >= DEPLOYED) + usize::from(minute >= MENDED)],
            duration_us,
            error_type,
            cache: [Cache::L1, Cache::L1, Cache::L1, Cache::Redis, Cache::Store][self.rng.usize(0..5)],
            random: self.rng.u64(..),
        }
    }

    /// How a request ends, with its status and class of error.
    fn end(&mut self, minute: usize, route: usize) -> (Outcome, u16, &'static str) {
        let per_mille = self.rng.u32(0..1000);
        match (is_bad(minute), per_mille) {
            (true, 0..60) => (Outcome::ServerError, 503, "store_timeout"),
            (true, 60..80) => (Outcome::ServerError, 503, "store_unavailable"),
            (true, 80..90) => (Outcome::Shed, 503, "overloaded"),
            (true, 90..92) => (Outcome::Panic, 500, "panic"),
            (false, 0) if self.rng.u32(0..10) == 0 => (Outcome::ServerError, 503, "store_unavailable"),
            (_, 100..130) => {
                (Outcome::ClientError, 404, if route == 0 { "unknown_code" } else { "not_found" })
            }
            (_, 130..132) => (Outcome::RateLimited, 429, "too_many"),
            (_, 132..134) => (Outcome::Cancelled, 499, ""),
            _ if route < 1 => (Outcome::Ok, 302, ""),
            _ => (Outcome::Ok, 200, ""),
        }
    }
}

/// The event that a request leaves.
pub(crate) fn event(request: &Request, seq: u64) -> Event<'static> {
    let pick = |names: &[&'static str], bits: u32| {
        names[usize::try_from((request.random >> bits) % names.len() as u64).unwrap()]
    };
    let lost = request.route == 0 && request.outcome == Outcome::ClientError;
    let of_link = request.route < 2;
    // A few links have most of the clicks.
    let link = (request.random >> 12) % 400;
    let link = link * link / 400;
    let bot = request.random.is_multiple_of(9);
    Event {
        ts: Timestamp(request.at_us),
        duration_us: request.duration_us,
        request_id: Text::new(format!("019aa3a0-0000-7000-8000-{:012x}", request.number)),
        trace_id: TraceId(u128::from(request.random) << 64 | u128::from(request.number)),
        span_id: SpanId(request.random | 1),
        service: Text::new("shortener"),
        version: Text::new(request.version),
        instance: Text::new(INSTANCES[request.instance]),
        boot_id: Text::new(BOOTS[request.instance]),
        seq,
        environment: Text::new("production"),
        method: Text::new(if request.route == 3 && bot { "POST" } else { "GET" }),
        route: Text::new(ROUTES[request.route].0),
        scheme: Text::new("https"),
        host: Host::parse("hop.example").unwrap(),
        status: request.status,
        outcome: request.outcome,
        error_type: Text::new(request.error_type),
        error_message: Text::new(if request.error_type.starts_with("store") {
            "the link store does not answer"
        } else {
            ""
        }),
        domain: Text::new(if of_link && link.is_multiple_of(5) { "s.example" } else { "" }),
        code: Text::new(if of_link { format!("c{link}") } else { String::new() }),
        link_id: if of_link && !lost { link + 1 } else { 0 },
        link_version: u32::from(of_link && !lost),
        target_host: Host::parse("www.example.org").unwrap(),
        click: request.is_click(),
        orphan: if lost { Orphan::InvalidShortUrl } else { Orphan::None },
        orphan_path: Text::new(if lost { pick(&["/wp-login.php", "/c4o0", "/admin"], 30) } else { "" }),
        cache: if of_link { request.cache } else { Cache::None },
        store_us: 120,
        client_net: Network::V4([203, 0, 113]),
        visitor: Visitor((request.random >> 40) % 30_000 + 1),
        country: Text::new(pick(&["DE", "FR", "US", "IN", "BR", ""], 5)),
        browser: Text::new(pick(&["Chrome", "Firefox", "Safari", "Edge"], 20)),
        os: Text::new(pick(&["Windows", "Linux", "macOS", "Android", "iOS"], 25)),
        device: Text::new(pick(&["desktop", "mobile"], 33)),
        bot,
        bot_reason: Text::new(if bot { pick(&["crawler", "preview"], 36) } else { "" }),
        referrer_host: Host::parse(pick(&["", "news.example", "search.example"], 38)).unwrap(),
        bytes_out: 180,
        ..Event::default()
    }
}
