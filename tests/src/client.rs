//! An HTTP/1.1 client that hides nothing: which connection a request used, and every byte that came back.

pub mod browser;
pub mod connection;
pub mod load;
pub mod message;
pub mod tally;

pub use browser::{Browser, Whoami};
pub use connection::Connection;
pub use load::{Expect, Load, Running};
pub use message::{Request, Response};
pub use tally::Tally;
