//! Trees are made at random, printed and parsed; texts are made at random and must never do harm.

use proptest::prelude::*;
use thalweg_sql::ast::{
    BinaryOperator, Emit, Expr, ExprKind, Join, JoinKind, Literal, Name, Properties, Property,
    Query, SelectItem, Source, SpanUnit, Statement, TimeSpan, TypeName, Window, WindowShape,
    Within, Written,
};
use thalweg_sql::compile::compile;
use thalweg_sql::error::{Cause, Place};
use thalweg_sql::{Decimal, Schema, SqlType, parse};

const HERE: Written = Written(Place::START);

fn any_name() -> impl Strategy<Value = Name> {
    prop_oneof![
        "[A-Z_][A-Z0-9_]{0,6}",
        "[a-zA-Z .`'\"-]{1,6}",
        prop::sample::select(vec!["SELECT", "MAP", "END", "PARTITION", "WINDOWSTART", "Ünder"])
            .prop_map(str::to_owned)
    ]
    .prop_map(Name)
}

fn any_literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        Just(Literal::Null),
        any::<bool>().prop_map(Literal::Boolean),
        any::<i64>().prop_map(Literal::Integer),
        (any::<i64>(), 1_u8..30).prop_map(|(unscaled, scale)| {
            Literal::Decimal(Decimal { unscaled: unscaled.into(), scale })
        }),
        any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Literal::Double),
        "\\PC{0,8}".prop_map(Literal::String),
    ]
}

fn any_type() -> impl Strategy<Value = TypeName> {
    let scalar = prop::sample::select(vec![
        SqlType::Int,
        SqlType::String,
        SqlType::Timestamp,
        SqlType::Decimal { precision: 9, scale: 2 },
    ])
    .prop_map(TypeName::Scalar);
    scalar.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|of| TypeName::Array(of.into())),
            (inner.clone(), inner.clone()).prop_map(|(k, v)| TypeName::Map(k.into(), v.into())),
            prop::collection::btree_map(any_name(), inner, 1..3)
                .prop_map(|fields| TypeName::Struct(fields.into_iter().collect())),
        ]
    })
}

fn any_operator() -> impl Strategy<Value = BinaryOperator> {
    use BinaryOperator as Op;
    prop::sample::select(vec![
        Op::Or,
        Op::And,
        Op::Equal,
        Op::NotEqual,
        Op::Less,
        Op::LessOrEqual,
        Op::Greater,
        Op::GreaterOrEqual,
        Op::Distinct,
        Op::NotDistinct,
        Op::Add,
        Op::Subtract,
        Op::Multiply,
        Op::Divide,
        Op::Modulo,
        Op::Concatenate,
    ])
}

fn any_expr() -> impl Strategy<Value = Expr> {
    let leaf = prop_oneof![
        any_literal().prop_map(ExprKind::Literal),
        (prop::option::of(any_name()), any_name())
            .prop_map(|(source, name)| ExprKind::Column { source, name }),
    ];
    leaf.prop_map(|kind| Expr::new(kind, Place::START)).prop_recursive(5, 40, 4, |inner| {
        let boxed = || inner.clone().prop_map(Box::new);
        let some = || prop::collection::vec(inner.clone(), 1..4);
        let pairs = || prop::collection::vec((inner.clone(), inner.clone()), 1..3);
        prop_oneof![
            boxed().prop_map(ExprKind::Not),
            // A minus before a positive number is read as part of it.
            boxed().prop_map(ExprKind::Negate),
            (any_operator(), boxed(), boxed())
                .prop_map(|(operator, left, right)| ExprKind::Binary { operator, left, right }),
            (boxed(), any::<bool>()).prop_map(|(expr, negated)| ExprKind::IsNull { expr, negated }),
            (boxed(), boxed(), prop::option::of(any::<char>()), any::<bool>()).prop_map(
                |(expr, pattern, escape, negated)| ExprKind::Like {
                    expr,
                    pattern,
                    escape,
                    negated
                }
            ),
            (boxed(), some(), any::<bool>()).prop_map(|(expr, list, negated)| ExprKind::In {
                expr,
                list,
                negated
            }),
            (boxed(), boxed(), boxed(), any::<bool>()).prop_map(|(expr, low, high, negated)| {
                ExprKind::Between { expr, low, high, negated }
            }),
            (prop::option::of(boxed()), pairs(), prop::option::of(boxed())).prop_map(
                |(operand, branches, otherwise)| ExprKind::Case { operand, branches, otherwise }
            ),
            (boxed(), any_type()).prop_map(|(expr, to)| ExprKind::Cast { expr, to }),
            ("[A-Z][A-Z_]{0,8}", prop::collection::vec(inner.clone(), 0..3), any::<bool>())
                .prop_filter("windowstart() is a column", |(name, ..)| !name.starts_with("WINDOW"))
                .prop_map(|(name, arguments, distinct)| ExprKind::Call {
                    distinct: distinct && !arguments.is_empty(),
                    star: false,
                    name,
                    arguments,
                }),
            (boxed(), any_name()).prop_map(|(expr, name)| ExprKind::Field { expr, name }),
            (boxed(), boxed()).prop_map(|(expr, index)| ExprKind::Index { expr, index }),
            prop::collection::vec(inner.clone(), 0..3).prop_map(ExprKind::Array),
            pairs().prop_map(ExprKind::Map),
            prop::collection::vec((any_name(), inner.clone()), 1..3).prop_map(ExprKind::Struct),
            (prop::collection::vec(any_name(), 1..3), boxed())
                .prop_map(|(parameters, body)| ExprKind::Lambda { parameters, body }),
        ]
        .prop_map(|kind| Expr::new(kind, Place::START))
    })
}

fn any_span() -> impl Strategy<Value = TimeSpan> {
    let units = prop::sample::select(vec![SpanUnit::Seconds, SpanUnit::Hours, SpanUnit::Days]);
    (0_u64..10_000, units).prop_map(|(count, unit)| TimeSpan { count, unit })
}

fn any_source() -> impl Strategy<Value = Source> {
    (any_name(), prop::option::of(any_name())).prop_map(|(name, alias)| Source {
        name,
        alias,
        place: HERE,
    })
}

fn any_join() -> impl Strategy<Value = Join> {
    let kinds = [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full];
    let within = (any_span(), any_span(), prop::option::of(any_span()))
        .prop_map(|(before, after, grace)| Within { before, after, grace });
    (prop::sample::select(kinds.to_vec()), any_source(), prop::option::of(within), any_expr())
        .prop_map(|(kind, source, within, on)| Join { kind, source, within, on })
}

fn any_window() -> impl Strategy<Value = Window> {
    let shape = prop_oneof![
        any_span().prop_map(|size| WindowShape::Tumbling { size }),
        (any_span(), any_span()).prop_map(|(size, advance)| WindowShape::Hopping { size, advance }),
        any_span().prop_map(|gap| WindowShape::Session { gap }),
    ];
    (shape, prop::option::of(any_span()), prop::option::of(any_span()))
        .prop_map(|(shape, retention, grace)| Window { shape, retention, grace })
}

fn any_item() -> impl Strategy<Value = SelectItem> {
    prop_oneof![
        4 => (any_expr(), prop::option::of(any_name()))
            .prop_map(|(expr, alias)| SelectItem::Expression { expr, alias }),
        1 => prop::option::of(any_name()).prop_map(|source| SelectItem::All { source, place: HERE }),
        1 => any_expr().prop_map(SelectItem::Fields),
    ]
}

fn any_query() -> impl Strategy<Value = Query> {
    let head = (
        prop::collection::vec(any_item(), 1..3),
        any::<bool>(),
        any_source(),
        prop::collection::vec(any_join(), 0..2),
        prop::option::of(any_window()),
    );
    let tail = (
        prop::option::of(any_expr()),
        prop::collection::vec(any_expr(), 0..3),
        prop::collection::vec(any_expr(), 0..2),
        prop::option::of(any_expr()),
        prop::collection::vec((any_expr(), any::<bool>()), 0..2),
        prop::option::of(prop::sample::select(vec![Emit::Changes, Emit::Final])),
        prop::option::of(0_u64..1000),
    );
    (head, tail).prop_map(|(head, tail)| {
        let (select, distinct, from, joins, window) = head;
        let (filter, group_by, partition_by, having, order_by, emit, limit) = tail;
        Query {
            select,
            distinct,
            from,
            joins,
            window,
            filter,
            group_by,
            partition_by,
            having,
            order_by,
            emit,
            limit,
            place: HERE,
        }
    })
}

fn any_properties() -> impl Strategy<Value = Properties> {
    let names = prop::collection::btree_set("[A-Za-z._]{1,8}", 0..3);
    (names, any_literal()).prop_map(|(names, value)| {
        let mut seen = std::collections::HashSet::new();
        let names = names.into_iter().filter(|name| seen.insert(name.to_ascii_uppercase()));
        let property = |name| Property { name, value: value.clone(), place: HERE };
        Properties(names.map(property).collect())
    })
}

fn one(text: &str) -> Statement {
    let mut statements = parse::script(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(statements.len(), 1, "{text}");
    statements.remove(0).1
}

proptest! {
    #[test]
    fn an_expression_reads_back(expr in any_expr()) {
        let text = expr.to_string();
        let parsed = parse::expression(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        prop_assert_eq!(parsed, expr);
    }

    #[test]
    fn a_query_reads_back(query in any_query(), with in any_properties(), target in any_name()) {
        let query = Box::new(query);
        let inserted = Statement::InsertSelect { target, with, query: query.clone() };
        prop_assert_eq!(one(&inserted.to_string()), inserted);
        let explained = Statement::Explain(Box::new(Statement::Query(query)));
        prop_assert_eq!(one(&explained.to_string()), explained);
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC{0,60}") {
        let _ = parse::script(&text);
        let _ = parse::expression(&text);
        let _ = text.parse::<SqlType>();
    }

    #[test]
    fn any_row_of_words_is_parsed_or_refused(words in prop::collection::vec(prop::sample::select(vec![
        "SELECT", "*", "FROM", "x", "WHERE", "(", ")", ",", "1", "'t'", "CREATE", "STREAM", "AS", "WITH",
        "=", "-", "NOT", "IN", "BETWEEN", "AND", "CASE", "WHEN", "THEN", "END", "ARRAY", "[", "]", "<", ">",
        "=>", ":=", "->", ".", "INSERT", "INTO", "VALUES", "SHOW", "PRINT", "WINDOW", "TUMBLING", "SIZE",
        "MINUTES", "JOIN", "ON", "ASSERT", "NULL", "DESCRIBE", "EXTENDED", "9999999999999999999999999",
    ]), 0..20)) {
        let text = words.join(" ");
        for (_, statement) in parse::script(&text).into_iter().flatten() {
            prop_assert_eq!(one(&statement.to_string()), statement);
        }
    }
}

/// Nothing that is nested or chained too deep may use up the stack: not reading it, printing it, compiling it, nor
/// letting it go.
#[test]
fn depth_is_bounded() {
    // What stands before, in the middle and behind; and how many of it are fine.
    let shapes = [
        ("(", "1", ")", 60),
        ("NOT ", "TRUE", "", 60),
        ("- ", "(1)", "", 60),
        ("ABS(", "1", ")", 60),
        ("ARRAY[", "1", "]", 60),
        ("CASE WHEN TRUE THEN ", "1", " END", 60),
        ("CASE ", "1", " WHEN 1 THEN 1 END", 60),
        ("", "1", " + 1", 120),
        ("", "TRUE", " AND TRUE", 120),
        ("", "1", " IS NULL", 120),
    ];
    for (before, middle, after, fine) in shapes {
        let nested =
            |depth: usize| format!("{}{middle}{}", before.repeat(depth), after.repeat(depth));
        let parsed = parse::expression(&nested(fine)).unwrap();
        compile(&parsed, &Schema::default()).unwrap();
        assert_eq!(parse::expression(&parsed.to_string()).unwrap(), parsed);
        let refused = parse::expression(&nested(8_000)).unwrap_err();
        assert!(matches!(refused.cause, Cause::TooDeep { .. }), "{before}: {refused}");
    }
    let refused = format!("{}INT{}", "ARRAY<".repeat(5000), ">".repeat(5000));
    assert!(matches!(refused.parse::<SqlType>().unwrap_err().cause, Cause::TooDeep { .. }));
}

#[test]
fn every_statement_form_reads_back() {
    let forms = "
        SHOW TOPICS; LIST ALL TOPICS EXTENDED; SHOW STREAMS EXTENDED; LIST TABLES; SHOW QUERIES; SHOW FUNCTIONS;
        SHOW PROPERTIES; SHOW TYPES; SHOW VARIABLES; SHOW CONNECTORS; SHOW SOURCE CONNECTORS; SHOW SINK CONNECTORS;
        DESCRIBE ratings; DESCRIBE EXTENDED ratings; DESCRIBE ratings EXTENDED; DESCRIBE FUNCTION ucase;
        DESCRIBE CONNECTOR `my-sink`; PRINT ratings; PRINT 'ratings-enriched' FROM BEGINNING INTERVAL 2 LIMIT 3;
        PRINT asgard.demo.CUSTOMERS-raw FROM BEGINNING;
        CREATE STREAM ratings WITH (KAFKA_TOPIC='ratings', VALUE_FORMAT='AVRO');
        CREATE OR REPLACE SOURCE TABLE IF NOT EXISTS t (id STRING PRIMARY KEY, `n` STRUCT<a INT, b ARRAY<DOUBLE>>)
          WITH (kafka_topic='t', value_format='JSON', partitions=1);
        CREATE STREAM s (k INT KEY, h ARRAY<STRUCT<key STRING, value BYTES>> HEADERS, x BYTES HEADER('x'), v my_type)
          WITH (kafka_topic='s', value_format='json');
        CREATE TABLE c WITH (KAFKA_TOPIC='C', VALUE_FORMAT='AVRO', KEY='ID');
        CREATE STREAM p AS SELECT * FROM ratings WHERE stars < 3;
        CREATE OR REPLACE TABLE counts WITH (PARTITIONS=1) AS SELECT full_name, COUNT(*) AS n, COLLECT_LIST(stars)
          FROM r WINDOW TUMBLING (SIZE 15 MINUTE, GRACE PERIOD 1 HOUR) WHERE stars > 1 GROUP BY full_name HAVING COUNT(*) > 2 EMIT FINAL;
        INSERT INTO target SELECT * FROM source; INSERT INTO target WITH (QUERY_ID='x') SELECT * FROM source EMIT CHANGES;
        INSERT INTO t VALUES (1, 'x', NULL); INSERT INTO t (a, b) VALUES (1, -2.5), (CAST('1' AS INT), ARRAY[1]);
        SELECT a.*, b->*, b->c[1] FROM a JOIN b WITHIN 1 HOUR GRACE PERIOD 5 MINUTES ON a.id = b.id
          LEFT OUTER JOIN c WITHIN (0 MINUTES, 10 MINUTES) ON a.id = c.id FULL JOIN d ON a.id = d.id EMIT CHANGES LIMIT 5;
        SELECT DISTINCT x FROM y PARTITION BY x; SELECT TRANSFORM(a, x => x + 1), REDUCE(m, 0, (s, k) => s + k) FROM y;
        SELECT x FROM y WINDOW HOPPING (SIZE 1 DAY, ADVANCE BY 1 HOUR, RETENTION 7 DAYS) GROUP BY (x, z);
        SELECT x FROM y WINDOW SESSION (30 SECONDS) GROUP BY x ORDER BY x DESC, z ASC LIMIT 1;
        DROP STREAM IF EXISTS s DELETE TOPIC; DROP TABLE t; DROP TYPE IF EXISTS a; DROP CONNECTOR 'my-sink';
        CREATE TYPE address AS STRUCT<city STRING>; ALTER STREAM s ADD COLUMN a INT, ADD b STRING;
        EXPLAIN CSAS_P_1; EXPLAIN SELECT * FROM x; TERMINATE CSAS_P_1; TERMINATE ALL; PAUSE q; RESUME ALL;
        SET 'auto.offset.reset' = 'earliest'; UNSET 'auto.offset.reset'; UNSET ALL; DEFINE format = 'JSON'; UNDEFINE format;
        RUN SCRIPT '/tmp/x.sql'; ASSERT TOPIC a WITH (PARTITIONS=1) TIMEOUT 5 SECONDS; ASSERT NOT EXISTS TOPIC 'a';
        ASSERT STREAM s (a INT KEY) WITH (kafka_topic='s'); ASSERT VALUES s (a, b) VALUES (1, 2);
        ASSERT NULL VALUES t (id) KEY (1);
        CREATE SINK CONNECTOR IF NOT EXISTS `es` WITH ('connector.class'='x', 'tasks.max'=1);
        CREATE SOURCE CONNECTOR mysql WITH ('connector.class'='y');";
    let statements = parse::script(forms).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(statements.len(), forms.matches(';').count());
    for (text, statement) in statements {
        assert_eq!(one(&statement.to_string()), statement, "{}", text.text);
    }
}

/// Each of these was once printed as something else: a comment, a literal, a list.
#[test]
fn signs_and_lists_stay_what_they_are() {
    for text in
        ["-(5)", "-(-5)", "- -X", "-(5[1])", "A - -X", "A - -5", "(A, B) => NULL", "A - (B - C)"]
    {
        assert_eq!(parse::expression(text).unwrap().to_string(), text);
    }
    let grouped = "SELECT X FROM Y GROUP BY (A, B) => NULL";
    assert_eq!(one(grouped).to_string(), grouped);
    assert_eq!(one("SELECT X FROM Y GROUP BY (A, B)").to_string(), "SELECT X FROM Y GROUP BY A, B");
}

#[test]
fn topics_keep_their_case_and_columns_do_not() {
    let Statement::Print(print) = one("PRINT asgard.demo.CUSTOMERS-raw") else { panic!() };
    assert_eq!(print.topic, "asgard.demo.CUSTOMERS-raw");
    let window = one("SELECT WindowStart() FROM x");
    assert_eq!(window.to_string(), "SELECT WINDOWSTART FROM X");
}

#[test]
fn errors_say_where_what_and_what_else() {
    let refused = parse::script("SHOW TOPICS;\nSELECT *\n  FORM ratings").unwrap_err();
    assert_eq!(refused.to_string(), "line 3, column 3: found FORM, expected FROM");
    let refused = parse::script("SELECT 'it's' FROM x").unwrap_err();
    assert_eq!(refused.place, Place { line: 1, column: 13 });
    assert!(refused.hint().unwrap().contains("''"));
    let refused =
        parse::script("CREATE STREAM s (a INT, a INT) WITH (kafka_topic='s')").unwrap_err();
    assert_eq!(refused.cause, Cause::Twice { what: "the column A".into() });
}
