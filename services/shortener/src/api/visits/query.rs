//! The query of lists of visits, with Shlink's parameters, and cursors.

use crate::api::fields::parse_date;
use crate::api::numbers;
use crate::statistics::{Begin, Given, OrphanKind, Span};

/// Visits on a page at most, and where the request does not say: Shlink gives all, and its web client asks for so many.
const ITEMS_MAX: u32 = 5_000;

/// Visits of one second at most that a cursor leaves behind: who makes one up would have ClickHouse put more in order.
const OF_A_SECOND_MAX: u32 = 1_000_000;

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

impl Asked {
    /// Where the page begins.
    pub(super) fn begin(&self) -> Begin {
        let skipped = |page: u64| Begin::Skip((page - 1).saturating_mul(u64::from(self.per_page)));
        self.page.map_or(Begin::After(self.after), skipped)
    }
}

/// The cursor for a place in a list.
pub(super) fn cursor(place: Given) -> String {
    format!("{}-{}", place.second, place.of_it)
}

/// What a cursor says. It is checked and not signed: whoever makes one up sees what is there all the same.
fn parse_cursor(text: &str) -> Result<Given, &'static str> {
    let parts = text
        .split_once('-')
        .and_then(|(second, of_it)| Some(Given { second: second.parse().ok()?, of_it: of_it.parse().ok()? }));
    parts.filter(|given| given.of_it <= OF_A_SECOND_MAX).ok_or("is no cursor of a list of visits")
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
        match parse_cursor(&cursor) {
            Ok(given) => asked.after = Some(given),
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
        assert_eq!(asked.begin(), Begin::Skip(40));
        assert_eq!(asked.span, Span { from: Some(86_400), to: Some(172_800) });
        assert!(asked.exclude_bots);
        assert_eq!(asked.kind, Some(OrphanKind::BaseUrl));
        let nothing = parse(None).unwrap();
        assert_eq!((nothing.page, nothing.per_page, nothing.span), (Some(1), ITEMS_MAX, Span::default()));
        assert_eq!(parse(Some("itemsPerPage=1000000")).unwrap().per_page, ITEMS_MAX);
        assert_eq!(parse(Some("page=9007199254740991")).unwrap().begin(), Begin::Skip(u64::MAX));
    }

    #[test]
    fn cursors_are_read() {
        let begin = |query: &str| parse(Some(query)).unwrap().begin();
        let place = Given { second: 8, of_it: 2 };
        assert_eq!(begin(&format!("cursor={}&page=7", cursor(place))), Begin::After(Some(place)));
        assert_eq!(begin("cursor="), Begin::After(None));
        for wrong in
            ["8", "-", "8-", "-2", "8--2", "x-2", "8-x", "4294967296-1", "8-1000001", "8-4294967296", "8-2-2"]
        {
            let wrong = parse(Some(&format!("cursor={wrong}"))).unwrap_err();
            assert_eq!(wrong, [("cursor", "is no cursor of a list of visits".to_owned())]);
        }
    }

    #[test]
    fn each_wrong_parameter_is_named() {
        let wrong = parse(Some("page=0&itemsPerPage=x&startDate=never&endDate=soon&type=click"));
        let names: Vec<_> = wrong.unwrap_err().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["page", "itemsPerPage", "startDate", "endDate", "type"]);
    }
}
