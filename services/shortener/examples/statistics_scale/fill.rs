//! Fills the tables as the collector would have. The last month is made click by click; each month before it has the same
//! clicks on other days, which takes a tenth of the time. Links are clicked by Zipf's law: of a million, the first gets a
//! fourteenth of all clicks, and half of them hardly any. Three links of ten are on domains of their own.

use anyhow::Result;
use warehouse::Warehouse;

/// Months of clicks.
pub(crate) const MONTHS: u64 = 24;

/// The first second of them, 2024-11-01, and the days of a month.
pub(crate) const BEGIN: i64 = 1_730_419_200;
pub(crate) const MONTH_DAYS: i64 = 28;

/// How much there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) clicks: u64,
    pub(crate) links: u64,
}

/// The code of a link by its rank, from 1, and its domain.
pub(crate) const CODE: &str = "substring(lower(hex(cityHash64(rank, 7))), 1, 7)";
pub(crate) const DOMAIN: &str = "multiIf(rank % 10 < 7, '', rank % 10 < 9, 's.example', 'go.example')";

/// Memory and blocks of an insert: what fits an engine of 2 GiB, since rows come in the order of the table.
const SETTINGS: &str = "max_insert_block_size = 1000000, min_insert_block_size_rows = 1000000, \
                        min_insert_block_size_bytes = 0, optimize_aggregation_in_order = 1, \
                        max_bytes_before_external_group_by = 400000000, max_partitions_per_insert_block = 1000";

const DIMENSIONS: [&str; 5] = ["country", "device", "browser", "os", "referrer_host"];

/// Rollups by their time, with the columns that are the same in each month.
const ROLLUPS: [(&str, &str, &str); 4] = [
    ("clicks_by_hour", "hour", "code, bot, domain, clicks, visitors"),
    ("clicks_by_day", "day", "code, dimension, value, bot, domain, clicks"),
    ("visits_by_hour", "hour", "kind, domain, bot, visits, visitors"),
    ("visits_by_day", "day", "kind, dimension, value, bot, domain, visits"),
];

pub(crate) async fn fill(warehouse: &Warehouse, size: Size) -> Result<()> {
    last_month(warehouse, size).await?;
    let begin = month(MONTHS - 1);
    for (table, time, columns) in ROLLUPS {
        for before in 1..i64::try_from(MONTHS)? {
            let days = before * MONTH_DAYS;
            warehouse
                .execute(&format!(
                    "INSERT INTO {table} ({time}, {columns}) SELECT {time} - toIntervalDay({days}), {columns} \
                     FROM {table} WHERE {time} >= toDateTime({begin}, 'UTC') SETTINGS {SETTINGS}"
                ))
                .await?;
        }
    }
    by_link(warehouse).await
}

/// Single clicks have a time to live: there are those of the last month alone.
async fn last_month(warehouse: &Warehouse, size: Size) -> Result<()> {
    let columns = format!("ts, code, domain, visitor, bot, {}", DIMENSIONS.join(", "));
    let single = format!("INSERT INTO clicks ({columns}) SELECT {columns} FROM {}", clicks(size));
    warehouse.execute(&format!("{single} SETTINGS {SETTINGS}")).await?;
    for (table, what, count) in
        [("clicks_by_hour", "code", "clicks"), ("visits_by_hour", "'click' AS kind", "visits")]
    {
        let column = if count == "clicks" { "code" } else { "kind" };
        warehouse
            .execute(&format!(
                "INSERT INTO {table} ({column}, hour, domain, bot, {count}, visitors) SELECT {what}, \
                 toStartOfHour(ts) AS hour, domain, bot, count(), uniqState(visitor) FROM clicks \
                 GROUP BY {column}, hour, domain, bot SETTINGS {SETTINGS}"
            ))
            .await?;
    }
    for dimension in DIMENSIONS {
        warehouse
            .execute(&format!(
                "INSERT INTO clicks_by_day (code, day, dimension, value, domain, bot, clicks) SELECT code, \
                 toDate(ts) AS day, '{dimension}', {dimension}, domain, bot, count() FROM clicks \
                 GROUP BY code, day, {dimension}, domain, bot SETTINGS {SETTINGS}"
            ))
            .await?;
    }
    let visits = "INSERT INTO visits_by_day (kind, day, dimension, value, domain, bot, visits) SELECT 'click', day, \
                  dimension, value, domain, bot, sum(clicks) FROM clicks_by_day GROUP BY day, dimension, value, \
                  domain, bot";
    warehouse.execute(&format!("{visits} SETTINGS {SETTINGS}")).await?;
    Ok(())
}

/// What links have in all, of what they have by hour and by day.
async fn by_link(warehouse: &Warehouse) -> Result<()> {
    for (kind, since) in [("all", "toStartOfYear(hour)"), ("day", "toDate(hour)")] {
        warehouse
            .execute(&format!(
                "INSERT INTO clicks_by_link (code, dimension, domain, bot, first, clicks) SELECT code, '{kind}', domain, \
                 bot, min(hour), sum(clicks) FROM clicks_by_hour GROUP BY code, domain, bot, {since} SETTINGS {SETTINGS}"
            ))
            .await?;
    }
    let values = "INSERT INTO clicks_by_link (code, dimension, value, domain, bot, first, clicks) SELECT code, dimension, \
                  value, domain, bot, min(toDateTime(day, 'UTC')), sum(clicks) FROM clicks_by_day GROUP BY code, \
                  dimension, toYear(day), value, domain, bot";
    warehouse.execute(&format!("{values} SETTINGS {SETTINGS}")).await?;
    Ok(())
}

fn month(number: u64) -> i64 {
    BEGIN + i64::try_from(number).unwrap_or_default() * MONTH_DAYS * 86_400
}

/// The clicks of the last month, each a function of its number.
fn clicks(size: Size) -> String {
    let Size { clicks, links } = size;
    let random = |salt: u8| format!("cityHash64(number, {salt})");
    let share = |salt: u8| format!("{} / 18446744073709551616.", random(salt));
    format!(
        "(SELECT toDateTime({}, 'UTC') + toUInt32({} % {}) AS ts, toUInt64(pow({links}, {})) AS rank, {CODE} AS code, \
         {DOMAIN} AS domain, {} % 5 = 0 AS bot, {} AS visitor, concat('C', toString(toUInt32(pow(60, {})))) AS country, \
         ['desktop', 'mobile', ''][1 + {} % 3] AS device, concat('Browser', toString(toUInt32(pow(8, {})))) AS browser, \
         concat('System', toString(toUInt32(pow(6, {})))) AS os, \
         concat('site', toString(toUInt32(pow(200, {}))), '.example') AS referrer_host FROM numbers({}))",
        month(MONTHS - 1),
        random(1),
        MONTH_DAYS * 86_400,
        share(2),
        random(3),
        random(4),
        share(5),
        random(6),
        share(7),
        share(8),
        share(9),
        clicks / MONTHS,
    )
}

/// Rows and bytes on disk by table, and of the totals by link within.
pub(crate) async fn sizes(warehouse: &Warehouse) -> Result<Vec<(String, u64, u64)>> {
    let parts = |kind: &str, name: &str| {
        format!(
            "SELECT toString({name}) AS part_of, sum(rows), sum(bytes_on_disk) FROM system.{kind} \
             WHERE active AND database = currentDatabase() GROUP BY part_of"
        )
    };
    let sql = format!(
        "SELECT * FROM ({} UNION ALL {}) ORDER BY 1",
        parts("parts", "table"),
        parts("projection_parts", "name")
    );
    Ok(warehouse.rows(&sql, &[]).await?)
}
