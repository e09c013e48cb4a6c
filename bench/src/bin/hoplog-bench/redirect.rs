//! What an event costs a redirect: throughput of a closed loop, and p99 of an open loop at the same rate for all,
//! of each variant in turns, so that a machine that changes its mind changes it for all. Medians of the rounds; a ratio is
//! the median of each round's own, since a round is one state of the machine more than the run is.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use bench::run::run_codes;
use bench::workload::{Arrivals, Links, Methods, Mix};
use bench::{Report, Workload, links};
use clap::Args;
use serde_json::{Value, json};

use crate::stack::{Running, Setup, Variant};

/// How to run it.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The hoplog binary.
    #[arg(long)]
    hoplog: PathBuf,
    /// Rounds; each measures every variant once.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Connections.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Requests a second of the open loop.
    #[arg(long, default_value_t = 2000.0)]
    rate: f64,
    /// Variants to measure; all of them where none is named.
    #[arg(long = "variant", value_enum)]
    variants: Vec<Variant>,
    /// The variable that switches events off.
    #[arg(long, default_value = "HOPLOG_SERVE__EMITTER__ENABLED=false")]
    events_off: String,
    /// Keep state and logs in this directory instead of a temporary one.
    #[arg(long)]
    keep: Option<PathBuf>,
}

impl Options {
    fn variants(&self) -> Vec<Variant> {
        if self.variants.is_empty() { Variant::ALL.to_vec() } else { self.variants.clone() }
    }
}

/// One variant in one round.
#[derive(Debug)]
struct Measured {
    variant: Variant,
    closed: Report,
    open: Report,
}

/// Links that requests are spread over; far less than fits in the cache, as the question is what events cost.
const LINKS: usize = 1000;

/// Every request is held against a limit, as one from elsewhere would be, and none is refused.
const LIMITED: [(&str, &str); 3] = [
    ("HOPLOG_SERVE__SHORTENER__LIMITS__ALLOW", "[]"),
    ("HOPLOG_SERVE__SHORTENER__LIMITS__VISITS_PER_S", "1000000000.0"),
    ("HOPLOG_SERVE__SHORTENER__LIMITS__VISITS_BURST", "1000000000"),
];

/// Runs it; the result as JSON.
pub(crate) async fn run(options: &Options) -> Result<Value> {
    let scratch = scratch(options)?;
    let result = rounds(options, &scratch).await;
    if options.keep.is_none() && result.is_ok() {
        std::fs::remove_dir_all(&scratch)?;
    } else {
        eprintln!("state and logs are in {}", scratch.display());
    }
    let measured = result?;
    let summary = summary(options, &measured);
    eprintln!("{}", table(&summary));
    Ok(summary)
}

fn scratch(options: &Options) -> Result<PathBuf> {
    let path = match &options.keep {
        Some(path) => path.clone(),
        None => std::env::temp_dir().join(format!("hoplog-bench-{}", std::process::id())),
    };
    std::fs::create_dir_all(&path)?;
    Ok(path)
}

async fn rounds(options: &Options, scratch: &std::path::Path) -> Result<Vec<Measured>> {
    let setup = |variant: Variant| Setup {
        hoplog: options.hoplog.clone(),
        data: scratch.join(variant.name()),
        events_off: options.events_off.clone(),
        settings: LIMITED.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        log: scratch.join(format!("{}.log", variant.name())),
    };
    let variants = options.variants();
    let mut codes = Vec::new();
    for variant in variants.iter().copied() {
        // `serve` alone has no one to make its schema: each gets it, and its links, from a first `up`.
        let first = if variant == Variant::PipelineStopped { Variant::Events } else { variant };
        codes.push(create_links(first, &setup(variant)).await?);
    }
    let mut measured = Vec::new();
    for round in 1..=options.rounds {
        for (variant, codes) in variants.iter().copied().zip(&codes) {
            let running = Running::start(variant, &setup(variant)).await?;
            let one = measure(options, variant, codes, &running).await;
            running.end().await?;
            let one = one.with_context(|| format!("{} in round {round}", variant.name()))?;
            eprintln!(
                "round {round}: {:<16} {:>8.0}/s, p99 {:>6} µs at {:.0}/s",
                variant.name(),
                one.closed.rate_per_s,
                one.open.latency_us.p99,
                options.rate
            );
            measured.push(one);
        }
    }
    Ok(measured)
}

async fn create_links(variant: Variant, setup: &Setup) -> Result<Vec<String>> {
    if variant == Variant::Baseline {
        return Ok((0..LINKS).map(|index| format!("code{index}")).collect());
    }
    let running = Running::start(variant, setup).await?;
    let new = |index| links::NewLink {
        long_url: format!("https://site.example/load/1/{index}"),
        custom_slug: None,
        title: None,
    };
    let created = links::create(&running.target, (0..LINKS).map(new).collect()).await;
    running.end().await?;
    created?.into_iter().map(|code| Ok(code?)).collect()
}

async fn measure(
    options: &Options,
    variant: Variant,
    codes: &[String],
    running: &Running,
) -> Result<Measured> {
    let workload = |arrivals, duration_s| Workload {
        rate_per_s: options.rate,
        arrivals,
        duration_s,
        connections: options.connections,
        timeout_ms: 5000,
        seed: Some(1),
        links: Links { count: codes.len(), ..Links::default() },
        mix: Mix { unknown_share: 0.0, malformed_share: 0.0, hang_up_share: 0.0, bot_share: 0.1 },
        methods: Methods { get: 1.0, head: 0.0, post: 0.0 },
    };
    // Fills caches and wakes the processor; a fifth of the measurement proved enough.
    let warm_up = workload(Arrivals::Closed, options.seconds / 5.0);
    run_codes(&warm_up, 1, codes.to_vec(), &running.target).await;
    let closed = workload(Arrivals::Closed, options.seconds);
    let closed = run_codes(&closed, 1, codes.to_vec(), &running.target).await;
    let open = workload(Arrivals::Poisson, options.seconds);
    let open = run_codes(&open, 1, codes.to_vec(), &running.target).await;
    for report in [&closed, &open] {
        if report.outcome("302") != report.requests {
            bail!("not every request was redirected, so the numbers say nothing:\n{report}");
        }
    }
    Ok(Measured { variant, closed, open })
}

/// The middle one; of an even number, the upper of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median of the ratios of two things in each round, in thousandths; `None` without rounds of both.
fn ratio(of: &[f64], to: &[f64]) -> Option<f64> {
    let ratios: Vec<f64> = of.iter().zip(to).map(|(of, to)| of / to).collect();
    (!ratios.is_empty()).then(|| (median(ratios) * 1000.0).round() / 1000.0)
}

#[expect(clippy::cast_precision_loss, reason = "microseconds far below 2^53")]
fn summary(options: &Options, measured: &[Measured]) -> Value {
    let rounds = |variant: Variant, value: fn(&Measured) -> f64| -> Vec<f64> {
        measured.iter().filter(|one| one.variant == variant).map(value).collect()
    };
    let throughput = |one: &Measured| one.closed.rate_per_s.round();
    let p99 = |one: &Measured| one.open.latency_us.p99 as f64;
    let variant = |variant: Variant| {
        let (rates, lates) = (rounds(variant, throughput), rounds(variant, p99));
        let open = measured.iter().filter(|one| one.variant == variant);
        json!({
            "variant": variant.name(),
            "requests_per_s": median(rates.clone()),
            "requests_per_s_rounds": rates,
            "p99_us": median(lates.clone()),
            "p99_us_rounds": lates,
            "throughput_to_no_events": ratio(&rates, &rounds(Variant::NoEvents, throughput)),
            "p99_to_no_events": ratio(&lates, &rounds(Variant::NoEvents, p99)),
            "throughput_to_baseline": ratio(&rates, &rounds(Variant::Baseline, throughput)),
            "kept_up": open.map(|one| one.open.kept_up).collect::<Vec<_>>(),
        })
    };
    json!({
        "connections": options.connections,
        "seconds": options.seconds,
        "open_loop_rate_per_s": options.rate,
        "variants": options.variants().into_iter().map(variant).collect::<Vec<_>>(),
    })
}

/// The same for people.
fn table(summary: &Value) -> String {
    let mut lines = vec![format!(
        "{:<18}{:>12}{:>10}{:>22}{:>23}{:>18}",
        "variant", "requests/s", "p99 µs", "throughput / no ev.", "throughput / baseline", "p99 / no ev."
    )];
    for row in summary["variants"].as_array().into_iter().flatten() {
        lines.push(format!(
            "{:<18}{:>12}{:>10}{:>22}{:>23}{:>18}",
            row["variant"].as_str().unwrap_or_default(),
            row["requests_per_s"].to_string(),
            row["p99_us"].to_string(),
            row["throughput_to_no_events"].to_string(),
            row["throughput_to_baseline"].to_string(),
            row["p99_to_no_events"].to_string()
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::{median, ratio};

    #[test]
    fn ratios_are_of_the_same_round() {
        // A machine that is half as fast in one round is so for both.
        assert_eq!(ratio(&[80.0, 40.0, 90.0], &[100.0, 50.0, 100.0]), Some(0.8));
        assert_eq!(ratio(&[80.0], &[]), None);
    }

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]).to_bits(), 3.0_f64.to_bits());
        assert!(median(vec![]).is_nan());
    }
}
