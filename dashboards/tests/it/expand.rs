//! Queries as Grafana and its plugin for ClickHouse hand them on: macros and variables filled in, as both document.

use std::collections::BTreeMap;

use crate::samples::STEP_S;

/// A time range, in seconds since the Unix epoch, and the distance of points.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    pub(crate) from_s: i64,
    pub(crate) to_s: i64,
    pub(crate) step_s: i64,
}

/// What is chosen in a variable; none: all of them, or nothing typed.
pub(crate) type Chosen = BTreeMap<String, String>;

/// For Prometheus. `all` stands for a variable of which all values are chosen.
pub(crate) fn promql(expr: &str, chosen: &Chosen, range: Range) -> String {
    let step = range.step_s;
    // Four scrapes, so that one may fail, and never less than from one point to the next.
    let rate = (step + STEP_S as i64).max(4 * STEP_S as i64);
    let mut expr = expr
        .replace("$__rate_interval", &format!("{rate}s"))
        .replace("$__range", &format!("{}s", range.to_s - range.from_s));
    for name in variables(&expr) {
        let value = chosen.get(&name).map_or(".+".to_owned(), |value| escaped(value));
        expr = expr.replace(&format!("${name}"), &value);
    }
    expr
}

/// A value within a regular expression within a string of PromQL.
fn escaped(value: &str) -> String {
    let special = |c: char| if "\\^$.|?*+()[]{}".contains(c) { format!("\\\\{c}") } else { c.to_string() };
    value.chars().map(special).collect()
}

/// For ClickHouse: first the plugin's `$__conditionalAll`, then variables, then its other macros.
pub(crate) fn sql(raw: &str, chosen: &Chosen, range: Range) -> String {
    let mut sql = raw.to_owned();
    while let Some(at) = sql.rfind("$__conditionalAll(") {
        let (arguments, end) = arguments(&sql, at + "$__conditionalAll".len());
        let [condition, variable] = &arguments[..] else { panic!("two arguments: {raw}") };
        let name = variable.trim().trim_start_matches('$');
        let kept = if chosen.contains_key(name) { condition.clone() } else { "1=1".to_owned() };
        sql.replace_range(at..end, &kept);
    }
    for name in variables(raw) {
        let value = chosen.get(&name).cloned().unwrap_or_default();
        sql = sql.replace(&format!("${{{name}:sqlstring}}"), &format!("'{}'", value.replace('\'', "''")));
    }
    for (name, filled) in MACROS {
        let call = format!("$__{name}(");
        while let Some(at) = sql.find(&call) {
            let (arguments, end) = arguments(&sql, at + call.len() - 1);
            sql.replace_range(at..end, &filled(arguments[0].trim(), range));
        }
    }
    let plain = [("$__fromTime", range.from_s), ("$__toTime", range.to_s)]
        .map(|(name, at)| (name, format!("toDateTime({at})")));
    for (name, value) in plain {
        sql = sql.replace(name, &value);
    }
    assert!(!sql.contains('$'), "not filled in: {sql}");
    sql
}

type Macro = fn(&str, Range) -> String;

/// Macros with one argument.
const MACROS: [(&str, Macro); 2] = [
    ("timeFilter", |column, range| {
        format!("{column} >= toDateTime({}) AND {column} <= toDateTime({})", range.from_s, range.to_s)
    }),
    ("timeInterval", |column, range| {
        format!("toStartOfInterval(toDateTime({column}), INTERVAL {} second)", range.step_s)
    }),
];

/// What stands between the bracket at `open` and its partner, at commas of the first level, and where that ends.
fn arguments(text: &str, open: usize) -> (Vec<String>, usize) {
    let (mut depth, mut arguments) = (0, vec![String::new()]);
    for (at, c) in text[open..].char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        match (c, depth) {
            (')', 0) => return (arguments, open + at + 1),
            (',', 1) => arguments.push(String::new()),
            ('(', 1) => {}
            _ => arguments.last_mut().unwrap().push(c),
        }
    }
    panic!("brackets don't match: {text}");
}

/// Names of the variables in a query, `$name` or `${name:format}`; macros begin with two underscores.
pub(crate) fn variables(query: &str) -> Vec<String> {
    let named = query.split('$').skip(1).map(|rest| {
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default().to_owned()
    });
    let mut names: Vec<_> = named.filter(|name| !name.is_empty() && !name.starts_with("__")).collect();
    // Longer ones first, so that none is filled in as the beginning of another.
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    names.dedup();
    names
}

#[test]
fn macros_are_filled_in_as_the_plugin_does() {
    let range = Range { from_s: 100, to_s: 200, step_s: 60 };
    let raw = "SELECT $__timeInterval(ts) AS time WHERE $__timeFilter(ts) AND $__conditionalAll(if(a = '', b, a) IN (${a:sqlstring}), $a)";
    let all = sql(raw, &Chosen::new(), range);
    assert!(all.ends_with("WHERE ts >= toDateTime(100) AND ts <= toDateTime(200) AND 1=1"), "{all}");
    let one = sql(raw, &Chosen::from([("a".to_owned(), "it's".to_owned())]), range);
    assert!(one.ends_with("AND if(a = '', b, a) IN ('it''s')"), "{one}");
    assert!(one.starts_with("SELECT toStartOfInterval(toDateTime(ts), INTERVAL 60 second) AS time"), "{one}");
    let one = Chosen::from([("route".to_owned(), "/{code}".to_owned())]);
    assert_eq!(promql("a{r=~\"$route\"}[$__rate_interval]", &one, range), r#"a{r=~"/\\{code\\}"}[240s]"#);
    assert_eq!(promql("a{r=~\"$route\"}", &Chosen::new(), range), r#"a{r=~".+"}"#);
}
