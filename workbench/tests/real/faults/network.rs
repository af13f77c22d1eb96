//! The network between the consumer and PostgreSQL: answers lost on the way, and silence.
