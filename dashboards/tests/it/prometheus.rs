//! The real Prometheus over the samples of a day: blocks made by promtool, served by the server itself.

use std::fs::{self, File};
use std::io::BufWriter;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::expand::Range;
use crate::samples::Samples;

/// A start takes a second or two; nothing is asserted about it.
const START_MAX: Duration = Duration::from_secs(120);

pub(crate) struct Prometheus {
    server: Child,
    url: String,
    agent: ureq::Agent,
    _data: TempDir,
}

/// What a query answered.
pub(crate) struct Answer {
    /// Series, or rows.
    pub(crate) rows: usize,
    /// Points with a number.
    pub(crate) points: usize,
    pub(crate) highest: f64,
    pub(crate) took: Duration,
}

impl Prometheus {
    /// None, and said so, where there is no Prometheus.
    pub(crate) fn start(samples: &Samples, start_s: i64) -> Option<Self> {
        for program in ["promtool", "prometheus", "setpriv"] {
            if Command::new(program).arg("--version").output().is_err() {
                println!("NOT COVERED: queries on a real Prometheus: there is no {program}");
                return None;
            }
        }
        let data = tempfile::tempdir().unwrap();
        blocks(samples, start_s, &data);
        fs::write(data.path().join("prometheus.yml"), "global: {scrape_interval: 1m}\n").unwrap();
        let port = testbed::free_port();
        let mut server = Command::new("setpriv");
        server.args(["--pdeathsig", "KILL", "prometheus", "--storage.tsdb.retention.time=10y"]);
        server.arg(format!("--config.file={}", data.path().join("prometheus.yml").display()));
        server.arg(format!("--storage.tsdb.path={}", data.path().join("tsdb").display()));
        server.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let log = File::create(data.path().join("log")).unwrap();
        let server = server.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let prometheus = Self { server, url, agent: crate::clickhouse::agent(), _data: data };
        let begun = Instant::now();
        while prometheus.get("/-/ready", &[]).is_err() {
            assert!(
                begun.elapsed() < START_MAX,
                "{}",
                fs::read_to_string(prometheus._data.path().join("log")).unwrap()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(prometheus)
    }

    fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<String, String> {
        let request = self.agent.get(format!("{}{path}", self.url)).query_pairs(query.iter().copied());
        let mut response = request.call().map_err(|error| error.to_string())?;
        let text = response.body_mut().with_config().limit(1 << 30).read_to_string();
        let text = text.map_err(|error| error.to_string())?;
        if response.status() == 200 { Ok(text) } else { Err(text) }
    }

    fn data(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, String> {
        let mut answer: Value = serde_json::from_str(&self.get(path, query)?).unwrap();
        Ok(answer["data"].take())
    }

    /// Over the range, or at its end.
    pub(crate) fn query(&self, expr: &str, range: Range, instant: bool) -> Result<Answer, String> {
        let (from, to, step) = (range.from_s.to_string(), range.to_s.to_string(), range.step_s.to_string());
        let begun = Instant::now();
        let data = if instant {
            self.data("/api/v1/query", &[("query", expr), ("time", &to)])?
        } else {
            self.data(
                "/api/v1/query_range",
                &[("query", expr), ("start", &from), ("end", &to), ("step", &step)],
            )?
        };
        let took = begun.elapsed();
        let series = crate::list(&data, "result");
        let pairs = series.iter().flat_map(|one| match one["value"].is_array() {
            true => std::slice::from_ref(&one["value"]),
            false => crate::list(one, "values"),
        });
        let numbers = pairs.filter_map(|pair| pair[1].as_str()?.parse::<f64>().ok());
        let numbers: Vec<_> = numbers.filter(|number| number.is_finite()).collect();
        let highest = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Ok(Answer { rows: series.len(), points: numbers.len(), highest, took })
    }

    /// What Grafana's `label_values(metric, label)` asks for.
    pub(crate) fn label_values(&self, query: &str, range: Range) -> Vec<String> {
        let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let (metric, label) = inner.and_then(|inner| inner.rsplit_once(", ")).unwrap();
        let (from, to) = (range.from_s.to_string(), range.to_s.to_string());
        let query = [("match[]", metric), ("start", &from), ("end", &to)];
        let values = self.data(&format!("/api/v1/label/{label}/values"), &query).unwrap();
        values.as_array().unwrap().iter().map(|value| value.as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Blocks as the server would have written them.
fn blocks(samples: &Samples, start_s: i64, data: &TempDir) {
    let text = data.path().join("samples.txt");
    samples.write(start_s, BufWriter::new(File::create(&text).unwrap())).unwrap();
    let mut promtool = Command::new("promtool");
    // The text is read once a block, so few of them.
    promtool.args(["tsdb", "create-blocks-from", "--max-block-duration=54h", "openmetrics"]);
    let output = promtool.arg(&text).arg(data.path().join("tsdb")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::remove_file(text).unwrap();
}
