//! `docs/sql.md` against the code.

use thalweg_sql::functions::table::markdown;
use thalweg_sql::parse;

const DOCS: &str = include_str!("../../../docs/sql.md");

#[test]
fn the_function_table_is_that_of_the_code() {
    let (_, after) = DOCS.split_once("<!-- functions: begin -->\n").unwrap();
    let (shown, _) = after.split_once("<!-- functions: end -->").unwrap();
    assert_eq!(shown.trim(), markdown().trim(), "put this there:\n{}", markdown());
}

#[test]
fn every_statement_shown_parses() {
    let blocks = DOCS.split("```sql\n").skip(1).map(|block| block.split("```").next().unwrap());
    let mut statements = 0;
    for block in blocks {
        match parse::script(block) {
            Ok(parsed) => statements += parsed.len(),
            Err(error) => panic!("{error}\n{block}"),
        }
    }
    assert!(statements > 40, "only {statements} statements are shown");
}
