//! Rows that only the database refuses, and tables that change while the consumer runs.
