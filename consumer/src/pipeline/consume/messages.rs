//! Owns the messages' way out of librdkafka, the only unsafe code: they come from a queue of their own, many with one call.
//! One by one, as rdkafka hands them over, each costs as much processor time as decoding it
//! (docs/decisions/0014).
//!
//! What is relied on (librdkafka's `rdkafka.h`): a queue lives until it is destroyed, whoever forwards to it; a message
//! lives until it is destroyed; no callback begins once it is switched off; all of these calls may be made from any
//! thread while the client lives.

#![expect(
    unsafe_code,
    reason = "rdkafka does not offer this call; measured in docs/benchmarks.md, decided in docs/decisions/0014"
)]

use crate::offsets::{Offset, Partition};
use crate::pipeline::batch::Incoming;
use crate::pipeline::rebalance::KafkaConsumer;
use crate::table::Coordinates;
use rdkafka::bindings as librdkafka;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::{RDKafka, RDKafkaMessage, RDKafkaQueue, RDKafkaRespErr};
use std::ffi::{CString, c_void};
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::slice;
use std::thread::Thread;
use std::time::{Duration, Instant};

/// So many messages are taken with one call. More would hardly be cheaper, and what is taken is kept, even if the
/// filling batch has become full in the middle.
const MOST: usize = 64;

/// Partitions are diverted again after so long, while they have not settled and later.
const PAUSE_AT_FIRST: Duration = Duration::from_millis(10);
const PAUSE: Duration = Duration::from_secs(1);
const SETTLED_AFTER: Duration = Duration::from_secs(5);

/// A Kafka client and the queue of its messages. All other news (the group's decisions, errors, statistics) come by the
/// client's own queue.
pub(super) struct Client {
    /// Destroyed before the client, by the order of fields.
    queue: Queue,
    consumer: KafkaConsumer,
    topic: CString,
    fetched: Vec<*mut RDKafkaMessage>,
    restarted_at: Instant,
    diverted_at: Instant,
}

/// What `Client::take` hands over.
pub(super) enum Fetched<'a> {
    /// A message.
    Message(Incoming<'a>),
    /// The client has looked at all of the partition's log before this offset, which was its end then.
    End(Partition, Offset),
    /// The client can't read on, or not now.
    Error(KafkaError),
}

impl Client {
    /// The messages of the topic's partitions will wake the calling thread.
    pub(super) fn new(consumer: KafkaConsumer, topic: &str) -> Self {
        let now = Instant::now();
        Self {
            queue: Queue::new(&consumer),
            consumer,
            topic: CString::new(topic).expect("a topic's name was checked"),
            fetched: vec![ptr::null_mut(); MOST],
            restarted_at: now,
            diverted_at: now,
        }
    }

    /// Has the messages of partitions brought to the queue. To be called before the client is told to read them: from then
    /// on they come by no other way.
    pub(super) fn divert(&mut self, partitions: impl Iterator<Item = Partition>, now: Instant) {
        self.restarted_at = now;
        self.divert_now(partitions, now);
    }

    /// The same for all partitions, now and then: when the client stops reading a partition, some time after it was told
    /// to, it takes the diversion away, and messages wait in the partition's own queue. A partition that is diverted
    /// already stays as it is, and no message changes its place in the order.
    pub(super) fn divert_again(&mut self, partitions: impl Iterator<Item = Partition>, now: Instant) {
        if now - self.diverted_at >= self.pause_between_diversions(now) {
            self.divert_now(partitions, now);
        }
    }

    /// `divert_again` is to be called at least so often.
    pub(super) fn pause_between_diversions(&self, now: Instant) -> Duration {
        if now - self.restarted_at < SETTLED_AFTER {
            PAUSE_AT_FIRST
        } else {
            PAUSE
        }
    }

    fn divert_now(&mut self, partitions: impl Iterator<Item = Partition>, now: Instant) {
        self.diverted_at = now;
        let client: *mut RDKafka = self.consumer.client().native_ptr();
        for partition in partitions {
            // SAFETY: the client lives, the name ends with a zero byte.
            let of_partition =
                unsafe { librdkafka::rd_kafka_queue_get_partition(client, self.topic.as_ptr(), partition.0) };
            if let Some(of_partition) = NonNull::new(of_partition) {
                // SAFETY: both queues live; the partition's is given back once, and not used after that.
                unsafe {
                    librdkafka::rd_kafka_queue_forward(of_partition.as_ptr(), self.queue.pointer.as_ptr());
                    librdkafka::rd_kafka_queue_destroy(of_partition.as_ptr());
                }
            }
        }
    }

    /// Hands over what has come, in order: as much as one call of librdkafka takes, and not more than `most`. How much that
    /// was, and whether there may be more.
    ///
    /// Where the client goes on after a pause must be told it anew: it takes the end of a log for a message, and would go
    /// on one behind that.
    pub(super) fn take(
        &mut self,
        most: usize,
        topic: &str,
        mut each: impl FnMut(Fetched<'_>),
    ) -> (usize, bool) {
        const NO_WAIT: i32 = 0;
        let most = most.min(self.fetched.len());
        // SAFETY: the queue lives, and the array has room for so many.
        let count = unsafe {
            librdkafka::rd_kafka_consume_batch_queue(
                self.queue.pointer.as_ptr(),
                NO_WAIT,
                self.fetched.as_mut_ptr(),
                most,
            )
        };
        // Negative: the queue is not ready, and will say so in its own way.
        let count = usize::try_from(count).unwrap_or(0);
        for fetched in &self.fetched[..count] {
            let message = Message(NonNull::new(*fetched).expect("librdkafka fills as many as it says"));
            each(message.read(topic));
        }
        (count, count == most)
    }
}

impl Deref for Client {
    type Target = KafkaConsumer;

    fn deref(&self) -> &KafkaConsumer {
        &self.consumer
    }
}

/// A message that is ours until it is dropped.
struct Message(NonNull<RDKafkaMessage>);

impl Message {
    fn read<'a>(&'a self, topic: &'a str) -> Fetched<'a> {
        // SAFETY: the message lives as long as `self`, and nobody writes to it.
        let message = unsafe { self.0.as_ref() };
        let partition = Partition(message.partition);
        match message.err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => {}
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
                return Fetched::End(partition, Offset(message.offset));
            }
            error => return Fetched::Error(KafkaError::MessageConsumption(RDKafkaErrorCode::from(error))),
        }
        let mut kind = librdkafka::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message lives.
        let timestamp_ms = unsafe { librdkafka::rd_kafka_message_timestamp(message, &raw mut kind) };
        let known = timestamp_ms != -1
            && kind != librdkafka::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: librdkafka's pointers and lengths belong together, and their bytes live as long as the message.
        let (key, payload) = unsafe {
            (
                bytes(message.key.cast(), message.key_len),
                bytes(message.payload.cast(), message.len),
            )
        };
        Fetched::Message(Incoming {
            at: Coordinates {
                topic,
                partition,
                offset: Offset(message.offset),
                timestamp_ms: known.then_some(timestamp_ms),
                key,
            },
            payload,
        })
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: nobody else has it.
        unsafe { librdkafka::rd_kafka_message_destroy(self.0.as_ptr()) };
    }
}

/// Bytes that librdkafka lends; null is none, and differs from no bytes.
///
/// # Safety
///
/// `start` is null, or so many bytes are there, and stay for `'a`.
unsafe fn bytes<'a>(start: *const u8, length: usize) -> Option<&'a [u8]> {
    // SAFETY: by the caller's word.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start, length) })
}

/// A queue of our own.
struct Queue {
    pointer: NonNull<RDKafkaQueue>,
    /// Read by librdkafka's threads as long as the queue lives.
    _woken: Box<Thread>,
}

impl Queue {
    fn new(consumer: &KafkaConsumer) -> Self {
        unsafe extern "C" fn wake(_: *mut RDKafka, thread: *mut c_void) {
            // SAFETY: it is the box of the queue, which is dropped after this callback was switched off.
            unsafe { &*thread.cast::<Thread>() }.unpark();
        }
        let woken = Box::new(std::thread::current());
        // SAFETY: the client lives.
        let pointer = unsafe { librdkafka::rd_kafka_queue_new(consumer.client().native_ptr()) };
        let pointer = NonNull::new(pointer).expect("librdkafka has memory for a queue");
        // SAFETY: the queue lives; the thread lives until `drop` has switched the callback off.
        unsafe {
            librdkafka::rd_kafka_queue_cb_event_enable(
                pointer.as_ptr(),
                Some(wake),
                ptr::from_ref::<Thread>(&woken).cast_mut().cast(),
            );
        }
        Self {
            pointer,
            _woken: woken,
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the queue lives until the second call; partitions that forward to it keep what they need of it.
        unsafe {
            librdkafka::rd_kafka_queue_cb_event_enable(self.pointer.as_ptr(), None, ptr::null_mut());
            librdkafka::rd_kafka_queue_destroy(self.pointer.as_ptr());
        }
    }
}
