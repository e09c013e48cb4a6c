//! The query of the list of short URLs.

use std::collections::BTreeSet;

use super::cursor;
use super::fields::{parse_date, tag};
use crate::keys::now;
use crate::link::{ListQuery, Order};

/// Links on a page where the request does not say.
const ITEMS_DEFAULT: u32 = 10;

/// Links on a page at most, also for Shlink's `-1` (all): beyond it there are pages.
const ITEMS_MAX: u32 = 1_000;

/// Orders that the link store does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VisitsOrder {
    /// By all visits.
    All,
    /// By those that no rule says a bot made.
    NonBots,
}

/// A list that was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ListRequest {
    pub(super) query: ListQuery,
    /// What it is ordered by instead of the query's order.
    pub(super) by_visits: Option<VisitsOrder>,
    /// Counted from 1; none with a cursor.
    pub(super) page: Option<u64>,
    pub(super) domain: Option<String>,
}

/// Reads it; every wrong parameter is named.
pub(super) fn parse(query: Option<&str>) -> Result<ListRequest, Vec<(&'static str, String)>> {
    let mut list = ListQuery {
        domain: None,
        owner: None,
        exclude_tags: BTreeSet::new(),
        exclude_tags_all: false,
        after: None,
        count: true,
        search: None,
        tags: BTreeSet::new(),
        tags_all: false,
        created_from: None,
        created_to: None,
        exclude_exhausted: false,
        exclude_expired_at: None,
        order: Order::Created,
        // Without an order Shlink gives the newest first.
        descending: true,
        offset: 0,
        limit: ITEMS_DEFAULT,
    };
    let (mut wrong, mut page, mut domain, mut cursor) = (Vec::new(), 1_u64, None, None);
    let mut by_visits = None;
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        let mut refuse = |name: &'static str, why: &str| wrong.push((name, why.to_owned()));
        match &*name {
            "page" => match value.parse::<u64>() {
                Ok(number) if number >= 1 => page = number,
                _ => refuse("page", "is not a whole number of at least 1"),
            },
            "itemsPerPage" => match value.parse::<i64>() {
                Ok(-1) => list.limit = ITEMS_MAX,
                Ok(number) if number >= 1 => {
                    list.limit = u32::try_from(number).unwrap_or(ITEMS_MAX).min(ITEMS_MAX);
                }
                _ => refuse("itemsPerPage", "is neither a whole number of at least 1 nor -1"),
            },
            "searchTerm" if !value.is_empty() => list.search = Some(value.into_owned()),
            name if is_array(name, "tags") => {
                list.tags.insert(tag(&value));
            }
            "tagsMode" => match all(&value) {
                Ok(all) => list.tags_all = all,
                Err(why) => refuse("tagsMode", why),
            },
            name if is_array(name, "excludeTags") => {
                list.exclude_tags.insert(tag(&value));
            }
            "excludeTagsMode" => match all(&value) {
                Ok(all) => list.exclude_tags_all = all,
                Err(why) => refuse("excludeTagsMode", why),
            },
            "orderBy" => match order(&value) {
                Ok((ListOrder::Stored(order), descending)) => {
                    (list.order, list.descending, by_visits) = (order, descending, None);
                }
                Ok((ListOrder::Visits(order), descending)) => {
                    (list.descending, by_visits) = (descending, Some(order));
                }
                Err(why) => refuse("orderBy", why),
            },
            "startDate" => match parse_date(&value, false) {
                Ok(time) => list.created_from = Some(time),
                Err(why) => refuse("startDate", why),
            },
            "endDate" => match parse_date(&value, true) {
                Ok(time) => list.created_to = Some(time),
                Err(why) => refuse("endDate", why),
            },
            "excludeMaxVisitsReached" => list.exclude_exhausted = value == "true",
            "excludePastValidUntil" => list.exclude_expired_at = (value == "true").then(now),
            "cursor" => cursor = Some(value.into_owned()),
            "domain" => domain = Some(value.into_owned()),
            _ => {}
        }
    }
    if by_visits.is_some() && cursor.take().is_some() {
        // Counts change between two requests: a place among them is none.
        wrong.push(("cursor", "is not for lists by visits, which have pages".to_owned()));
    }
    let page = place(&mut list, page, cursor, &mut wrong);
    if wrong.is_empty() { Ok(ListRequest { query: list, by_visits, page, domain }) } else { Err(wrong) }
}

/// PHP's arrays come as `tags[]`, `tags[0]` and so on.
pub(super) fn is_array(name: &str, array: &str) -> bool {
    name.strip_prefix(array)
        .is_some_and(|rest| rest.is_empty() || (rest.starts_with('[') && rest.ends_with(']')))
}

fn all(mode: &str) -> Result<bool, &'static str> {
    match mode {
        "any" => Ok(false),
        "all" => Ok(true),
        _ => Err("is neither any nor all"),
    }
}

/// Where a list begins: at a page, counted from 1, which is returned, or at a cursor.
fn place(
    list: &mut ListQuery,
    page: u64,
    cursor: Option<String>,
    wrong: &mut Vec<(&'static str, String)>,
) -> Option<u64> {
    match cursor {
        None => {
            list.offset = (page - 1).saturating_mul(u64::from(list.limit));
            Some(page)
        }
        Some(text) => {
            list.count = false;
            // An empty one is where a list begins that is never counted.
            if !text.is_empty() {
                match cursor::read(&text, list) {
                    Ok(after) => list.after = Some(after),
                    Err(why) => wrong.push(("cursor", why.to_owned())),
                }
            }
            None
        }
    }
}

/// What a list is ordered by, and who knows it.
enum ListOrder {
    Stored(Order),
    Visits(VisitsOrder),
}

fn order(text: &str) -> Result<(ListOrder, bool), &'static str> {
    let (field, direction) = text.split_once('-').unwrap_or((text, "ASC"));
    let order = match field {
        "dateCreated" => ListOrder::Stored(Order::Created),
        "shortCode" => ListOrder::Stored(Order::Code),
        "longUrl" => ListOrder::Stored(Order::Target),
        "title" => ListOrder::Stored(Order::Title),
        "visits" => ListOrder::Visits(VisitsOrder::All),
        "nonBotVisits" => ListOrder::Visits(VisitsOrder::NonBots),
        _ => return Err("is none of dateCreated, shortCode, longUrl, title, visits, nonBotVisits"),
    };
    match direction {
        "ASC" => Ok((order, false)),
        "DESC" => Ok((order, true)),
        _ => Err("ends neither in -ASC nor in -DESC"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read() {
        let read = parse(Some(
            "page=3&itemsPerPage=20&searchTerm=x%20y&tags[]=A&tags%5B1%5D=b&tagsMode=all&orderBy=title-DESC\
             &startDate=1970-01-02&endDate=1970-01-02&unknown=1&excludeMaxVisitsReached=true\
             &excludeTags[]=C&excludeTagsMode=all",
        ))
        .unwrap();
        assert_eq!(read.page, Some(3));
        assert_eq!(read.query.offset, 40);
        assert_eq!(read.query.search.as_deref(), Some("x y"));
        assert_eq!(read.query.tags.iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(read.query.exclude_tags.iter().collect::<Vec<_>>(), ["c"]);
        assert!(read.query.exclude_tags_all);
        assert!(read.query.tags_all && read.query.descending && read.query.exclude_exhausted);
        assert_eq!((read.query.created_from, read.query.created_to), (Some(86_400), Some(172_799)));
        let by_visits = |query| parse(Some(query)).map(|read| (read.by_visits, read.query.descending));
        assert_eq!(by_visits("orderBy=visits-DESC"), Ok((Some(VisitsOrder::All), true)));
        assert_eq!(by_visits("orderBy=nonBotVisits"), Ok((Some(VisitsOrder::NonBots), false)));
        assert_eq!(by_visits("orderBy=visits&orderBy=title"), Ok((None, false)));
        assert_eq!(by_visits("cursor=&orderBy=visits").unwrap_err()[0].0, "cursor");
        assert_eq!(parse(Some("itemsPerPage=-1")).unwrap().query.limit, ITEMS_MAX);
        assert_eq!(parse(Some("page=18446744073709551615")).unwrap().query.offset, u64::MAX);
    }

    #[test]
    fn each_wrong_parameter_is_named() {
        let wrong = parse(Some("page=0&itemsPerPage=x&tagsMode=some&orderBy=visits-UP&startDate=never"));
        let names: Vec<_> = wrong.unwrap_err().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["page", "itemsPerPage", "tagsMode", "orderBy", "startDate"]);
    }
}
