//! Finds the rows that ClickHouse refuses, by halves: each half is inserted under a token of its own. What is done with
//! the rows that are found is decided in [`crate::insert`].

use std::ops::Range as Rows;

use crate::batch::Batch;
use crate::failure::Failure;
use crate::insert::{Insertion, Refused};
use crate::intent::{Place, REFUSED_MAX};

impl Insertion<'_> {
    /// Inserts the rows that can be stored and returns the places of those that can't, sorted. The whole is always
    /// halved, whatever is known, so that the parts are the same in every life.
    pub(crate) async fn bisect(&self, batch: &Batch, known: Option<&[Place]>) -> Result<Vec<Place>, Failure> {
        let (all, token) = (0..batch.requests.rows(), self.range.token());
        let mut refused = Vec::new();
        let mut parts = if all.len() > 1 { halves(&all) } else { vec![all] };
        while let Some(part) = parts.pop() {
            let places = &batch.places[part.clone()];
            let is_known = known.map(|known| places.iter().any(|place| known.binary_search(place).is_ok()));
            let outcome = if is_known == Some(true) {
                Err(Refused(String::new()))
            } else {
                let part_token = format!("{token}/rows:{}-{}", part.start, part.end);
                self.insert_requests(&batch.requests.slice(part.clone()), &part_token).await?
            };
            match outcome {
                Ok(()) => (),
                Err(Refused(_)) if part.len() > 1 => parts.extend(halves(&part)),
                Err(Refused(why)) => {
                    refused.extend_from_slice(places);
                    if refused.len() > REFUSED_MAX {
                        return Err(Failure::Refused(format!("more than {REFUSED_MAX} rows refused: {why}")));
                    }
                }
            }
        }
        refused.sort_unstable();
        Ok(refused)
    }
}

fn halves(rows: &Rows<usize>) -> Vec<Rows<usize>> {
    let middle = rows.start + rows.len() / 2;
    vec![middle..rows.end, rows.start..middle]
}
