//! Headers read and made, with etherparse on the other side of the table.

mod craft;
mod options;
mod segment;
