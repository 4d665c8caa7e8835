//! Sequence numbers: they wrap, so they compare by distance (RFC 9293, section 3.4).

/// A TCP sequence number in the machine's byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct Seq(pub u32);

impl Seq {
    /// This number, `by` bytes on.
    #[inline(always)]
    #[must_use]
    pub const fn plus(self, by: u32) -> Self {
        Self(self.0.wrapping_add(by))
    }

    /// This number, `by` bytes back.
    #[inline(always)]
    #[must_use]
    pub const fn minus(self, by: u32) -> Self {
        Self(self.0.wrapping_sub(by))
    }

    /// How far this number lies ahead of `other`, as a two's complement number.
    #[inline(always)]
    pub const fn since(self, other: Self) -> u32 {
        self.0.wrapping_sub(other.0)
    }

    /// Whether this number lies before `other`.
    #[inline(always)]
    pub const fn before(self, other: Self) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    /// Whether this number lies behind `other`.
    #[inline(always)]
    pub const fn after(self, other: Self) -> bool {
        other.before(self)
    }

    /// The later of the two.
    #[inline(always)]
    #[must_use]
    pub const fn max(self, other: Self) -> Self {
        if self.before(other) { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::Seq;

    #[test]
    fn numbers_compare_across_the_wrap() {
        assert!(Seq(0xffff_fff0).before(Seq(5)));
        assert!(Seq(5).after(Seq(0xffff_fff0)));
        assert!(!Seq(7).before(Seq(7)) && !Seq(7).after(Seq(7)));
        assert_eq!(Seq(0xffff_ffff).plus(2), Seq(1));
        assert_eq!(Seq(1).since(Seq(0xffff_ffff)), 2);
        assert_eq!(Seq(0xffff_fff0).max(Seq(5)), Seq(5));
    }
}
