//! The query of lists of visits, with Shlink's parameters, and cursors.

use std::fmt;

use crate::api::fields::parse_date;
use crate::api::numbers;
use crate::link::UnixSeconds;
use crate::statistics::{OrphanKind, SingleVisit, Span, VisitsPage};

/// Visits on a page at most, and where the request does not say: Shlink gives all, and its web client asks for so many.
const ITEMS_MAX: u32 = 5_000;

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) span: Span,
    pub(super) exclude_bots: bool,
    pub(super) kind: Option<OrphanKind>,
    /// Counted from 1; none with a cursor.
    pub(super) page: Option<u64>,
    /// What the cursor says; nothing where it is empty, which is where a list begins.
    after: Option<Given>,
    pub(super) per_page: u32,
}

/// What was given of a list so far: all that is newer than a second, and of that second some. Visits that come in
/// meanwhile are newer, so that they move no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Given {
    second: UnixSeconds,
    of_it: u64,
}

impl Asked {
    /// Visits to skip of those in its span, which a cursor ends.
    pub(super) fn offset(&self) -> u64 {
        let before = |page: u64| (page - 1).saturating_mul(u64::from(self.per_page));
        self.page.map_or(self.after.map_or(0, |given| given.of_it), before)
    }

    /// The cursor for what comes after a page, unless nothing does. Of pages by number only the first has one: nobody knows
    /// how much of its last second is on those before another.
    pub(super) fn next(&self, page: &VisitsPage) -> Option<String> {
        let is_last = self.offset().saturating_add(page.visits.len() as u64) >= page.total;
        let last = page.visits.last().filter(|_| !is_last && self.page.unwrap_or(1) == 1)?;
        let is_of_its_second = |visit: &&SingleVisit| visit.ts == last.ts;
        let given = Given {
            second: last.ts.into(),
            of_it: page.visits.iter().rev().take_while(is_of_its_second).count() as u64,
        };
        let before =
            self.after.filter(|before| before.second == given.second).map_or(0, |before| before.of_it);
        Some(Given { of_it: before + given.of_it, ..given }.to_string())
    }
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.second, self.of_it)
    }
}

impl Given {
    /// What a cursor says. It is checked and not signed: whoever makes one up sees what is there all the same.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let parts = text.split_once('-').and_then(|(second, of_it)| {
            let second: u32 = second.parse().ok()?;
            Some(Self { second: second.into(), of_it: of_it.parse().ok()? })
        });
        parts.ok_or("is no cursor of this list")
    }
}

/// Reads it; every wrong parameter is named.
pub(super) fn parse(query: Option<&str>) -> Result<Asked, Vec<(&'static str, String)>> {
    let mut wrong = Vec::new();
    let mut asked = Asked {
        span: Span::default(),
        exclude_bots: false,
        kind: None,
        page: Some(1),
        after: None,
        per_page: ITEMS_MAX,
    };
    let mut cursor = None;
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        let mut refuse = |name: &'static str, why: &str| wrong.push((name, why.to_owned()));
        match &*name {
            "page" => match numbers::page(&value) {
                Ok(number) => asked.page = Some(number),
                Err(why) => refuse("page", why),
            },
            "itemsPerPage" => match numbers::items_per_page(&value) {
                Ok(items) => asked.per_page = numbers::items_at_most(items, ITEMS_MAX),
                Err(why) => refuse("itemsPerPage", why),
            },
            "cursor" => cursor = Some(value.into_owned()),
            "startDate" if !value.is_empty() => match parse_date(&value, false) {
                Ok(time) => asked.span.from = Some(time),
                Err(why) => refuse("startDate", why),
            },
            "endDate" if !value.is_empty() => match parse_date(&value, true) {
                // The second named is one of them.
                Ok(time) => asked.span.to = Some(time.saturating_add(1)),
                Err(why) => refuse("endDate", why),
            },
            "excludeBots" => match numbers::truth(&value) {
                Ok(exclude) => asked.exclude_bots = exclude,
                Err(why) => refuse("excludeBots", why),
            },
            "type" if !value.is_empty() => match OrphanKind::parse(&value) {
                Some(kind) => asked.kind = Some(kind),
                None => refuse("type", "is none of base_url, invalid_short_url, regular_404"),
            },
            _ => {}
        }
    }
    if let Some(cursor) = cursor {
        asked.page = None;
        match Given::parse(&cursor) {
            Ok(given) => {
                let end = given.second + 1;
                asked.after = Some(given);
                asked.span.to = Some(asked.span.to.map_or(end, |to| to.min(end)));
            }
            Err(_) if cursor.is_empty() => {}
            Err(why) => wrong.push(("cursor", why.to_owned())),
        }
    }
    if wrong.is_empty() { Ok(asked) } else { Err(wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read() {
        let asked = parse(Some(
            "page=3&itemsPerPage=20&startDate=1970-01-02&endDate=1970-01-02&excludeBots=true&type=base_url&x=y",
        ));
        let asked = asked.unwrap();
        assert_eq!(asked.offset(), 40);
        assert_eq!(asked.span, Span { from: Some(86_400), to: Some(172_800) });
        assert!(asked.exclude_bots);
        assert_eq!(asked.kind, Some(OrphanKind::BaseUrl));
        let nothing = parse(None).unwrap();
        assert_eq!((nothing.page, nothing.per_page, nothing.span), (Some(1), ITEMS_MAX, Span::default()));
        assert_eq!(parse(Some("itemsPerPage=1000000")).unwrap().per_page, ITEMS_MAX);
        assert_eq!(parse(Some("page=9007199254740991")).unwrap().offset(), u64::MAX);
    }

    fn page(seconds: &[u32], total: u64) -> VisitsPage {
        let visit = |ts: &u32| SingleVisit { ts: *ts, ..SingleVisit::default() };
        VisitsPage { visits: seconds.iter().map(visit).collect::<Vec<_>>().into(), total }
    }

    #[test]
    fn a_cursor_says_how_much_of_a_second_was_given() {
        let next =
            |query: &str, seconds: &[u32], total| parse(Some(query)).unwrap().next(&page(seconds, total));
        assert_eq!(next("", &[9, 8, 8], 4).as_deref(), Some("8-2"));
        assert_eq!(next("cursor=", &[9, 8, 7], 4).as_deref(), Some("7-1"));
        assert_eq!(next("cursor=8-2", &[8, 8, 8], 6).as_deref(), Some("8-5"));
        assert_eq!(next("cursor=8-2", &[8, 7, 7], 6).as_deref(), Some("7-2"));
        assert_eq!(next("cursor=8-2", &[8, 7, 7], 5), None, "nothing is left");
        assert_eq!(next("cursor=8-2", &[], 5), None, "what is counted is not kept any more");
        assert_eq!(
            next("page=2&itemsPerPage=3", &[8, 8, 8], 9),
            None,
            "of that second there may be some on the first"
        );
        let asked = parse(Some("cursor=8-2&page=7")).unwrap();
        assert_eq!((asked.page, asked.offset(), asked.span), (None, 2, Span { from: None, to: Some(9) }));
        let asked = parse(Some("cursor=86400-2&endDate=1970-01-01")).unwrap();
        assert_eq!(asked.span.to, Some(86_400), "never more than was asked for");
        for wrong in
            ["8", "-", "8-", "-2", "8--2", "x-2", "8-x", "4294967296-1", "8-18446744073709551616", "8-2-2"]
        {
            let wrong = parse(Some(&format!("cursor={wrong}"))).unwrap_err();
            assert_eq!(wrong, [("cursor", "is no cursor of this list".to_owned())]);
        }
    }

    #[test]
    fn each_wrong_parameter_is_named() {
        let wrong = parse(Some("page=0&itemsPerPage=x&startDate=never&endDate=soon&type=click"));
        let names: Vec<_> = wrong.unwrap_err().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["page", "itemsPerPage", "startDate", "endDate", "type"]);
    }
}
