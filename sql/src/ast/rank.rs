//! How tightly expressions bind: the grammar reads by it, and printing sets parentheses by it.

pub(crate) const LAMBDA: u8 = 0;
pub(crate) const OR: u8 = 1;
pub(crate) const AND: u8 = 2;
pub(crate) const NOT: u8 = 3;
pub(crate) const COMPARE: u8 = 4;
pub(crate) const ADD: u8 = 5;
pub(crate) const MULTIPLY: u8 = 6;
pub(crate) const SIGN: u8 = 7;
/// Whatever needs no parentheses anywhere.
pub(crate) const CLOSED: u8 = 8;
