//! Owns the way of one message into a batch: decode, choose the table by the event's type, encode, or refuse.
//! Counts the fields that no column takes.

use super::batch::{Batch, Fate, Incoming};
use super::decode::Decoder;
use super::encode::Encoder;
use crate::config::UnknownTypes;
use crate::dead_letter::{Reason, Refusal};
use crate::offsets::Offset;
use crate::table::{Routes, Tables};
use std::collections::BTreeMap;

/// So many names of fields without a column are told apart; a hostile topic could name millions.
const UNMAPPED_NAMES: usize = 100;

/// The name under which the fields beyond `UNMAPPED_NAMES` are counted.
const OTHER_NAMES: &str = "(other)";

/// Turns messages into rows of a batch.
#[derive(Debug)]
pub struct Routing {
    routes: Routes,
    unknown_types: UnknownTypes,
    decoder: Decoder,
    encoders: Vec<Encoder>,
    generation: u64,
    unmapped: BTreeMap<String, u64>,
}

impl Routing {
    /// Routes for one generation of the tables, by its routes.
    #[must_use]
    pub fn new(tables: &Tables) -> Self {
        Self {
            routes: tables.routes.clone(),
            unknown_types: tables.unknown_types,
            decoder: Decoder::default(),
            encoders: tables.tables.iter().map(Encoder::new).collect(),
            generation: tables.generation,
            unmapped: BTreeMap::new(),
        }
    }

    /// Goes over to another generation of the tables.
    pub fn refresh(&mut self, tables: &Tables) {
        if self.generation != tables.generation {
            self.routes = tables.routes.clone();
            self.unknown_types = tables.unknown_types;
            self.encoders = tables.tables.iter().map(Encoder::new).collect();
            self.generation = tables.generation;
        }
    }

    /// The generation of the tables that rows are encoded for.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How many tables there are.
    #[must_use]
    pub fn tables(&self) -> usize {
        self.encoders.len()
    }

    /// Takes one message into the batch, which must have been opened for this generation. `expected` is the stored
    /// offset of its partition that the batch moves from.
    pub fn take(&mut self, batch: &mut Batch, incoming: &Incoming<'_>, expected: Offset) {
        let fate = self.decide(batch, incoming);
        batch.push(incoming, expected, fate);
    }

    /// The batch's messages, encoded for another generation of the tables.
    #[must_use]
    pub fn encode_again(&mut self, batch: &Batch, topic: &str, tables: &Tables) -> Batch {
        self.refresh(tables);
        let mut again = Batch::default();
        if let Some(opened_at) = batch.opened_at() {
            again.open(tables.generation, self.tables(), opened_at);
        }
        for (incoming, expected) in batch.replay(topic) {
            self.take(&mut again, &incoming, expected);
        }
        for range in batch.ranges() {
            again.pass(range.partition, range.expected, range.next);
        }
        again
    }

    fn decide(&mut self, batch: &mut Batch, incoming: &Incoming<'_>) -> Fate {
        let event = match self.decoder.decode(incoming.payload) {
            Ok(event) => event,
            Err(refusal) => {
                return Fate::Refused {
                    event_type: None,
                    table: None,
                    refusal,
                };
            }
        };
        let Some(table) = self.routes.table_of(event.event_type()) else {
            return match self.unknown_types {
                UnknownTypes::Skip => Fate::Skipped,
                UnknownTypes::DeadLetter => {
                    let event_type = printable(event.event_type());
                    let detail = format!("no --route for type {event_type:?}");
                    let refusal = Refusal::new(Reason::UnknownType, detail);
                    Fate::Refused {
                        event_type: Some(event_type),
                        table: None,
                        refusal,
                    }
                }
            };
        };
        let (rows, keys) = batch.row_buffers(table);
        let unmapped = &mut self.unmapped;
        match self.encoders[table].encode(&event, &incoming.at, rows, keys, &mut |name| {
            count(unmapped, name);
        }) {
            Ok(()) => Fate::Row { table },
            Err(refusal) => Fate::Refused {
                event_type: Some(printable(event.event_type())),
                table: Some(table),
                refusal,
            },
        }
    }

    /// The fields without a column since the last call, with how often each came.
    pub fn take_unmapped(&mut self) -> impl Iterator<Item = (&str, u64)> {
        // The names stay, so that each allocates once.
        self.unmapped
            .iter_mut()
            .filter(|(_, count)| **count > 0)
            .map(|(name, count)| (name.as_str(), std::mem::take(count)))
    }
}

fn count(unmapped: &mut BTreeMap<String, u64>, name: &str) {
    if let Some(count) = unmapped.get_mut(name) {
        *count += 1;
    } else {
        let name = if unmapped.len() < UNMAPPED_NAMES {
            printable(name)
        } else {
            OTHER_NAMES.to_owned()
        };
        *unmapped.entry(name).or_default() += 1;
    }
}

/// A name that came with an event, fit for a text column and a label: without NUL, of bounded length.
fn printable(name: &str) -> String {
    const LONGEST: usize = 200;
    name.chars()
        .map(|c| if c == '\0' { char::REPLACEMENT_CHARACTER } else { c })
        .take(LONGEST)
        .collect()
}
