use super::*;
use std::collections::BTreeMap;

use wide_event::{Host, Text, Timestamp, Visitor};

const HOUR_US: i64 = 3_600_000_000;

fn intent() -> Intent {
    Intent::new(9, "p".to_owned(), 0, true)
}

fn click(code: &'static str, us: i64) -> Event<'static> {
    Event { ts: Timestamp(us), code: Text::new(code), click: true, ..Event::default() }
}

fn counted(events: &[Event<'_>], intent: &Intent) -> (BTreeMap<&'static str, Columns>, Totals, u64) {
    let mut visits = Visits::new(intent);
    events.iter().for_each(|event| visits.add(event));
    let totals = visits.totals;
    let (tables, folded) = visits.into_tables();
    (tables.into_iter().collect(), totals, folded)
}

fn column<'t>(table: &'t Columns, name: &str) -> &'t Column {
    &table.iter().find(|(known, _)| *known == name).unwrap().1
}

fn lists<const N: usize>(lists: [&[u64]; N]) -> Column {
    let mut column = warehouse::ListColumn::default();
    lists.iter().for_each(|list| column.push(list.iter().copied()));
    Column::List(column)
}

fn texts(texts: &[&str]) -> Column {
    crate::rollup::symbols(texts.iter().copied())
}

#[test]
fn hours_codes_bots_and_domains_are_told_apart_and_visitors_counted_once() {
    let events = [
        (1, "a", false, "", 7),
        (1, "a", false, "", 7),
        (1, "b", false, "", 7),
        (1, "a", false, "", 3),
        (2, "a", false, "", 7),
        (1, "a", true, "", 0),
        (1, "a", false, "s.example", 8),
    ]
    .map(|(hour, code, bot, domain, visitor)| Event {
        bot,
        domain: Text::new(domain),
        visitor: Visitor(visitor),
        ..click(code, hour * HOUR_US + 5)
    });
    let (tables, totals, _) = counted(&events, &intent());
    let expected =
        Totals { clicks: 7, click_rows: 7, visits: 7, orphan_rows: 0, day_clicks: 7, link_clicks: 7 };
    assert_eq!(totals, expected);
    let hours = &tables["clicks_by_hour"];
    assert_eq!(column(hours, "clicks"), &Column::U64(vec![3, 1, 1, 1, 1]));
    assert_eq!(column(hours, "visitor_list"), &lists([&[3, 7], &[7], &[7], &[], &[8]]));
    assert_eq!(column(hours, "domain"), &texts(&["", "", "", "", "s.example"]));
    // Of all links together visitor 7 is one in the first hour.
    let all = &tables["visits_by_hour"];
    assert_eq!(column(all, "visits"), &Column::U64(vec![4, 1, 1, 1]));
    assert_eq!(column(all, "visitor_list"), &lists([&[3, 7], &[7], &[], &[8]]));
    assert_eq!(tables["clicks"].len(), 13);
}

#[test]
fn orphan_visits_are_visits_and_no_clicks() {
    let orphan = |kind, path| Event {
        orphan: kind,
        orphan_path: Text::new(path),
        code: Text::new("anything"),
        ..Event::default()
    };
    let events = [
        orphan(Orphan::BaseUrl, "/"),
        orphan(Orphan::InvalidShortUrl, "/anything"),
        orphan(Orphan::InvalidShortUrl, "/else"),
        click("a", 0),
        Event::default(),
    ];
    let (tables, totals, _) = counted(&events, &intent());
    let expected =
        Totals { clicks: 1, click_rows: 1, visits: 4, orphan_rows: 3, day_clicks: 1, link_clicks: 1 };
    assert_eq!(totals, expected);
    assert_eq!(column(&tables["clicks_by_hour"], "clicks"), &Column::U64(vec![1]));
    assert_eq!(
        column(&tables["visits_by_hour"], "kind"),
        &texts(&["base_url", "invalid_short_url", "click"])
    );
    assert_eq!(column(&tables["visits_by_hour"], "visits"), &Column::U64(vec![1, 2, 1]));
    assert_eq!(column(&tables["clicks_by_day"], "clicks"), &Column::U64(vec![1; 5]));
    let orphans = &tables["orphan_visits"];
    assert_eq!(column(orphans, "kind"), &texts(&["base_url", "invalid_short_url", "invalid_short_url"]));
    let mut paths = warehouse::TextColumn::default();
    ["/", "/anything", "/else"].iter().for_each(|path| paths.push(path));
    assert_eq!(column(orphans, "path"), &Column::Text(paths));
}

#[test]
fn a_visit_counts_once_under_each_dimension() {
    let day = 24 * HOUR_US;
    let from = |country, os, us| Event { country: Text::new(country), os: Text::new(os), ..click("a", us) };
    let events =
        [from("DE", "Linux", 0), from("DE", "iOS", day - 1), from("", "Linux", 5), from("DE", "Linux", day)];
    let (tables, ..) = counted(&events, &intent());
    for (table, count) in [("clicks_by_day", "clicks"), ("visits_by_day", "visits")] {
        let table = &tables[table];
        // Two countries and a day, one device and a day, ….
        let days = vec![0, 0, 1, 0, 1, 0, 1, 0, 0, 1, 0, 1];
        assert_eq!(column(table, "day"), &Column::Day(days));
        assert_eq!(column(table, count), &Column::U64(vec![2, 1, 1, 3, 1, 3, 1, 2, 1, 1, 3, 1]));
        let values = ["DE", "", "DE", "", "", "", "", "Linux", "iOS", "Linux", "", ""];
        // The dictionary is that of the values in the order of dimensions, the empty one first.
        assert_eq!(column(table, "value"), &texts(&values));
    }
}

#[test]
fn what_is_switched_off_is_not_there_and_the_rest_is_the_same() {
    let events = [
        click("a", 0),
        click("b", 0),
        Event { orphan: Orphan::BaseUrl, ..Event::default() },
        Event { country: Text::new("DE"), ..click("a", 0) },
    ];
    let (all, ..) = counted(&events, &intent());
    let (no_links, totals, _) = counted(&events, &Intent { link_days: false, ..intent() });
    assert_eq!((totals.day_clicks, totals.visits), (0, 4));
    assert!(!no_links.contains_key("clicks_by_day"));
    let (kinds, firsts) = (["all", "all", "day", "day"], vec![0; 4]);
    assert_eq!(column(&no_links["clicks_by_link"], "dimension"), &texts(&kinds));
    assert_eq!(column(&no_links["clicks_by_link"], "clicks"), &Column::U64(vec![2, 1, 2, 1]));
    assert_eq!(column(&no_links["clicks_by_link"], "first"), &Column::Seconds(firsts));
    assert_eq!((totals.link_clicks, column(&all["clicks_by_link"], "clicks").len()), (3, 4 + 11));
    for table in ["visits_by_day", "visits_by_hour", "clicks_by_hour", "clicks"] {
        assert_eq!(no_links[table], all[table], "{table}");
    }
    let (no_rows, totals, _) = counted(&events, &Intent { clicks: false, ..intent() });
    assert_eq!((totals.click_rows, totals.orphan_rows, totals.visits), (0, 0, 4));
    assert_eq!(no_rows.len(), all.len() - 2);
    // As from before visits were counted.
    let (old, totals, _) =
        counted(&events, &Intent { visits: false, link_days: false, links: false, ..intent() });
    assert_eq!(totals, Totals { clicks: 3, click_rows: 3, ..Totals::default() });
    let filled = old.into_iter().filter(|(_, columns)| columns[0].1.len() > 0).map(|(table, _)| table);
    assert_eq!(filled.collect::<Vec<_>>(), ["clicks", "clicks_by_hour"]);
}

/// A client that names another host each time makes the tables no larger than a thousand hosts would.
#[test]
fn too_many_values_are_counted_together_and_the_frequent_ones_stay() {
    let hosts: Vec<String> = (0..3000).map(|number| format!("h{number}.example")).collect();
    let from = |host: &str| Event { referrer_host: Host::parse(host.to_owned()).unwrap(), ..click("a", 0) };
    let mut events: Vec<_> = hosts.iter().map(|host| from(host)).collect();
    // Comes last, and twice.
    events.extend([from("news.example"), from("news.example")]);
    let (tables, totals, folded) = counted(&events, &intent());
    // No referrer at all is a value, too, and here the rarest.
    assert_eq!((totals.visits, folded), (3002, 3002 - 2 - 999));
    for (table, count) in [("clicks_by_day", "clicks"), ("visits_by_day", "visits")] {
        let Column::U64(counts) = column(&tables[table], count) else { panic!() };
        assert_eq!(counts.iter().sum::<u64>(), 5 * 3002);
        assert_eq!(counts.len(), 4 + 1000 + 1);
        assert_eq!(counts.iter().max_by_key(|count| **count % 3002), Some(&folded));
        assert!(counts.contains(&2), "news.example");
    }
    let again = counted(&events, &intent());
    assert_eq!(again.0, tables);
    // The single rows say what each was.
    let Column::Symbol(hosts) = column(&tables["clicks"], "referrer_host") else { panic!() };
    assert_eq!(hosts.len(), 3002);
}
