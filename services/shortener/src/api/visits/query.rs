//! The query of lists of visits, with Shlink's parameters.

use crate::api::fields::parse_date;
use crate::api::numbers;
use crate::statistics::{OrphanKind, Span};

/// Visits on a page at most, and where the request does not say: Shlink gives all, and its web client asks for so many.
const ITEMS_MAX: u32 = 5_000;

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) span: Span,
    pub(super) exclude_bots: bool,
    pub(super) kind: Option<OrphanKind>,
    pub(super) page: u64,
    pub(super) per_page: u32,
}

impl Asked {
    /// Visits to skip.
    pub(super) fn offset(&self) -> u64 {
        (self.page - 1).saturating_mul(u64::from(self.per_page))
    }
}

/// Reads it; every wrong parameter is named.
pub(super) fn parse(query: Option<&str>) -> Result<Asked, Vec<(&'static str, String)>> {
    let mut wrong = Vec::new();
    let mut asked =
        Asked { span: Span::default(), exclude_bots: false, kind: None, page: 1, per_page: ITEMS_MAX };
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        let mut refuse = |name: &'static str, why: &str| wrong.push((name, why.to_owned()));
        match &*name {
            "page" => match numbers::page(&value) {
                Ok(number) => asked.page = number,
                Err(why) => refuse("page", why),
            },
            "itemsPerPage" => match numbers::items_per_page(&value) {
                Ok(items) => asked.per_page = numbers::items_at_most(items, ITEMS_MAX),
                Err(why) => refuse("itemsPerPage", why),
            },
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
        assert_eq!((nothing.page, nothing.per_page, nothing.span), (1, ITEMS_MAX, Span::default()));
        assert_eq!(parse(Some("itemsPerPage=1000000")).unwrap().per_page, ITEMS_MAX);
        assert_eq!(parse(Some("page=9007199254740991")).unwrap().offset(), u64::MAX);
    }

    #[test]
    fn each_wrong_parameter_is_named() {
        let wrong = parse(Some("page=0&itemsPerPage=x&startDate=never&endDate=soon&type=click"));
        let names: Vec<_> = wrong.unwrap_err().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["page", "itemsPerPage", "startDate", "endDate", "type"]);
    }
}
