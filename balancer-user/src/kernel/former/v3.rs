//! Layout 3, as far as an upgrade looks at it: its keys and sessions lay as in layout 2. What changed behind it are addresses.

use super::{Layout, v2};

pub(super) const LAYOUT: Layout = Layout { version: 3, ..v2::LAYOUT };
