//! Every query of every panel, variable and annotation on the real Prometheus and the real engine over the day: no error,
//! and nothing empty. What each took is printed and not asserted.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::clickhouse::{self, Pipeline};
use crate::counted::Counted;
use crate::day::{self, Day, MINUTES, VERSIONS};
use crate::expand::{self, Chosen, Range};
use crate::prometheus::Prometheus;
use crate::samples::Samples;
use crate::{committed, list, panels, shapes, slos, text};

/// Requests in the busiest minute: some 190,000 a day.
const REQUESTS_A_MINUTE_MAX: f64 = 200.0;
/// Of these in the incident, one in so many got a number and was dropped.
const DROPPED_ONE_IN: u64 = 500;
/// Points that a panel asks for, unless it says how many.
const POINTS: i64 = 1_000;
/// Distances of points that Grafana rounds to, in seconds, from a scrape on.
const STEPS_S: [i64; 5] = [60, 120, 300, 600, 1800];

/// How often a query is run with everything chosen.
const RUNS: usize = 3;

/// What went in.
#[derive(Debug, Default)]
struct Totals {
    requests: u64,
    failed: u64,
    clicks: u64,
}

struct World {
    prometheus: Option<Prometheus>,
    agent: ureq::Agent,
    start_s: i64,
    totals: Totals,
}

/// An answer of either.
struct Measured {
    place: String,
    rows: usize,
    read: Option<u64>,
    took: Duration,
}

impl World {
    async fn new() -> Self {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let start_s = (i64::try_from(now_s).unwrap() / 60 - MINUTES as i64) * 60;
        let (mut samples, mut counted, mut totals) =
            (Samples::default(), Counted::default(), Totals::default());
        let pipeline = Pipeline::open().await;
        let mut day = Day::from(start_s);
        let mut numbers = [0; 2];
        let mut events = Vec::new();
        for minute in 0..MINUTES {
            for request in day.minute(minute, REQUESTS_A_MINUTE_MAX) {
                counted.add(&request);
                numbers[request.instance] += 1;
                if day::is_bad(minute) && request.number.is_multiple_of(DROPPED_ONE_IN) {
                    continue;
                }
                totals.requests += 1;
                totals.failed += u64::from(request.outcome != wide_event::Outcome::Ok);
                totals.clicks += u64::from(request.is_click());
                events.push(day::event(&request, numbers[request.instance]));
            }
            counted.scrape(minute, &mut samples);
            if minute % 60 == 59 {
                pipeline.append(&events).await;
                events.clear();
            }
        }
        pipeline.append_nonsense().await;
        pipeline.collect().await;
        shapes::add(&mut samples);
        slos::add(&mut samples);
        println!("{totals:?}, {} series", samples.count());
        Self { prometheus: Prometheus::start(&samples, start_s), agent: clickhouse::agent(), start_s, totals }
    }

    /// The whole day in so many points.
    fn range(&self, points: i64) -> Range {
        let (from_s, to_s) = (self.start_s, self.start_s + (MINUTES as i64 - 1) * 60);
        let exact = (to_s - from_s) / points;
        let step_s = STEPS_S.into_iter().find(|step| *step >= exact).unwrap();
        Range { from_s, to_s, step_s }
    }

    /// For tables whose time is that of collection: up to after this very moment.
    fn range_of_sql(&self, points: i64) -> Range {
        let range = self.range(points);
        let day_s = range.to_s - range.from_s;
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        Range { to_s: (range.from_s + day_s).max(i64::try_from(now_s).unwrap() + 60), ..range }
    }

    /// Runs a target of a panel; `None` where there is no Prometheus. An answer without anything to show is an error.
    fn run(
        &self,
        place: &str,
        target: &Value,
        chosen: &Chosen,
        points: i64,
    ) -> Option<Result<Measured, String>> {
        let place = format!("{place} {}", text(target, "refId"));
        if target["rawSql"].is_string() {
            let sql = expand::sql(text(target, "rawSql"), chosen, self.range_of_sql(points));
            let answer = clickhouse::query(&self.agent, &sql);
            return Some(answer.map_err(|error| format!("{place}: {error}\n{sql}")).map(|answer| {
                let shown = answer.rows.iter().filter(|row| shows_something(row)).count();
                Measured { place, rows: shown, read: Some(answer.rows_read), took: answer.took }
            }));
        }
        let range = self.range(points);
        let expr = expand::promql(text(target, "expr"), chosen, range);
        let answer = self.prometheus.as_ref()?.query(&expr, range, target["instant"] == true);
        Some(answer.map_err(|error| format!("{place}: {error}\n{expr}")).map(|answer| Measured {
            place,
            rows: if answer.points == 0 { 0 } else { answer.rows },
            read: None,
            took: answer.took,
        }))
    }

    /// The same some times over: the fastest says most about the query, and least about what else the machine does.
    fn run_repeatedly(&self, place: &str, target: &Value, points: i64) -> Option<Result<Measured, String>> {
        let answers = (0..RUNS).map(|_| self.run(place, target, &Chosen::new(), points));
        let answers: Option<Result<Vec<_>, _>> = answers.collect();
        Some(answers?.map(|answers| answers.into_iter().min_by_key(|answer| answer.took).unwrap()))
    }

    fn rows(&self, sql: &str) -> Vec<Value> {
        clickhouse::query(&self.agent, &expand::sql(sql, &Chosen::new(), self.range_of_sql(POINTS)))
            .unwrap()
            .rows
    }

    /// Values that a variable offers.
    fn values(&self, variable: &Value) -> Vec<String> {
        let query = &variable["query"];
        match (variable["type"].as_str().unwrap(), &self.prometheus) {
            ("query", _) if query["rawSql"].is_string() => {
                let rows = self.rows(text(query, "rawSql"));
                let first = |row: &Value| {
                    row.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned()
                };
                rows.iter().map(first).collect()
            }
            ("query", Some(prometheus)) => prometheus.label_values(text(query, "query"), self.range(POINTS)),
            _ => Vec::new(),
        }
    }

    /// One value for each variable: the last one offered, and for what is typed, one that is there.
    fn one_of_each(&self, dashboard: &Value) -> Chosen {
        let newest = "SELECT request_id, trace_id, code FROM requests WHERE outcome = 'server_error' AND route = '/{code}' ORDER BY ts DESC LIMIT 1";
        let newest = self.rows(newest).remove(0);
        let variables = list(&dashboard["templating"], "list").iter();
        let chosen = variables.filter_map(|variable| {
            let name = text(variable, "name");
            let typed = newest[name].as_str().map(str::to_owned);
            Some((name.to_owned(), self.values(variable).pop().or(typed)?))
        });
        chosen.collect()
    }
}

/// Whether a row has a value that is not nothing, besides its time.
fn shows_something(row: &Value) -> bool {
    let fields = row.as_object().unwrap().iter();
    fields.filter(|(name, _)| *name != "time").any(|(_, value)| !value.is_null() && *value != "")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_shows_the_day() {
    let world = World::new().await;
    let (mut wrong, mut measured) = (Vec::new(), Vec::new());
    for (name, dashboard) in committed() {
        variables_offer_something(&world, &dashboard, &mut wrong);
        let one = world.one_of_each(&dashboard);
        for panel in panels(&dashboard) {
            let points = panel["maxDataPoints"].as_i64().unwrap_or(POINTS);
            for target in list(panel, "targets") {
                let place = format!("{name}, {:?}", text(panel, "title"));
                match world.run_repeatedly(&place, target, points) {
                    Some(Ok(answer)) if answer.rows == 0 => wrong.push(format!("{} is empty", answer.place)),
                    Some(Ok(answer)) => measured.push(answer),
                    Some(Err(error)) => wrong.push(error),
                    None => {}
                }
                // With one value each a panel may well be empty; it must not fail.
                wrong.extend(world.run(&place, target, &one, points).and_then(Result::err));
            }
        }
    }
    print(&mut measured);
    assert_eq!(wrong, Vec::<String>::new(), "{}", wrong.join("\n"));
    annotations_are_where_they_belong(&world);
    numbers_are_those_of_the_day(&world);
}

fn variables_offer_something(world: &World, dashboard: &Value, wrong: &mut Vec<String>) {
    for variable in
        list(&dashboard["templating"], "list").iter().filter(|variable| variable["type"] == "query")
    {
        let asked = variable["query"]["rawSql"].is_string() || world.prometheus.is_some();
        if asked && world.values(variable).is_empty() {
            wrong.push(format!(
                "{}: nothing to choose from in {}",
                text(dashboard, "title"),
                text(variable, "name")
            ));
        }
    }
}

fn annotations_are_where_they_belong(world: &World) {
    let (_, dashboard) = committed().remove(0);
    for annotation in list(&dashboard["annotations"], "list") {
        match text(annotation, "name") {
            "Deployments" => {
                let rows = world.rows(text(&annotation["target"], "rawSql"));
                let texts: Vec<_> = rows.iter().map(|row| text(row, "text")).collect();
                assert_eq!(texts, VERSIONS.map(|version| format!("Version {version}")));
            }
            "Incidents" => {
                let Some(prometheus) = &world.prometheus else { continue };
                let answer = prometheus.query(text(annotation, "expr"), world.range(POINTS), false).unwrap();
                // Two pages.
                assert!(answer.rows == 2 && answer.points > 0, "{} of {}", answer.points, answer.rows);
            }
            name => assert_eq!(name, "Annotations & Alerts"),
        }
    }
}

/// What panels show is what went in, and the bad version stands out.
fn numbers_are_those_of_the_day(world: &World) {
    let query = |file: &str| {
        let text = std::fs::read_to_string(crate::repository(&format!("dashboards/queries/{file}"))).unwrap();
        world.rows(&text)
    };
    let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap();
    let only = |file: &str| number(query(file)[0].as_object().unwrap().values().next().unwrap());
    assert_eq!(only("errors/failed.sql"), world.totals.failed as f64);
    assert_eq!(only("links/clicks.sql"), world.totals.clicks as f64);
    let versions = query("errors/versions.sql");
    assert_eq!(versions[0]["version"], VERSIONS[1]);
    let requests: f64 = versions.iter().map(|row| number(&row["requests"])).sum();
    assert_eq!(requests, world.totals.requests as f64);
    // Kept events are weighted: together they stand for all that failed.
    let kept: f64 = query("errors/errors.sql").iter().map(|row| number(&row["requests"])).sum();
    assert!((kept / world.totals.failed as f64 - 1.0).abs() < 0.02, "{kept}, {:?}", world.totals);
    let books = query("pipeline/books.sql");
    assert!(
        books.iter().all(|row| number(&row["unaccounted"]) == 0.0 && number(&row["holes"]) == 0.0),
        "{books:?}"
    );
    let missing: f64 = query("pipeline/gaps.sql").iter().map(|row| number(&row["missing"])).sum();
    assert!(missing > 0.0);
    let Some(prometheus) = &world.prometheus else { return };
    let range = world.range(POINTS);
    let bad = std::fs::read_to_string(crate::repository("dashboards/queries/redirects/bad_by_route.promql"))
        .unwrap();
    let redirects = Chosen::from([("route".to_owned(), "/{code}".to_owned())]);
    let bad = prometheus.query(&expand::promql(&bad, &redirects, range), range, false).unwrap();
    assert!((0.05..0.2).contains(&bad.highest), "{}", bad.highest);
}

/// All queries, the slowest first; times are the best of three.
fn print(measured: &mut [Measured]) {
    measured.sort_by_key(|answer| std::cmp::Reverse(answer.took));
    println!("{:>8} {:>6} {:>9}  query", "ms", "rows", "rows read");
    for answer in measured {
        let read = answer.read.map_or_else(|| "-".to_owned(), |read| read.to_string());
        let took_ms = answer.took.as_secs_f64() * 1e3;
        println!("{took_ms:>8.1} {:>6} {read:>9}  {}", answer.rows, answer.place);
    }
}
