//! Benchmarks of the product.
fn main() {}
