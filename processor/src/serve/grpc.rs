//! The Query service over gRPC: requests in, answers out, refusals as statuses. No rule of the engine is here.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use protocol::grpc::v1;
use protocol::grpc::v1::execute_response::Answer as Wire;
use protocol::grpc::v1::query_server::{Query, QueryServer};
use protocol::limits::SQL_BYTES_MAX;
use protocol::outcome::{Outcome, Refusal};
use sql::value::Value;
use tonic::{Request, Response, Status};

use crate::answer::Answer;
use crate::engine::{AnswerStream, Engine};

/// The Query service of an engine.
#[derive(Clone, Debug)]
pub struct QueryService {
    engine: Engine,
}

impl QueryService {
    /// The service, to be put into a tonic server.
    pub fn new(engine: Engine) -> QueryServer<Self> {
        QueryServer::new(Self { engine })
    }
}

#[tonic::async_trait]
impl Query for QueryService {
    type ExecuteStream = Responses;

    async fn execute(
        &self,
        request: Request<v1::ExecuteRequest>,
    ) -> Result<Response<Responses>, Status> {
        let v1::ExecuteRequest { sql, properties } = request.into_inner();
        if sql.len() > SQL_BYTES_MAX {
            let message =
                format!("the SQL text has {} bytes; at most {SQL_BYTES_MAX} are taken", sql.len());
            return Err(Refusal::new(Outcome::InvalidRequest, message).into());
        }
        let answers = self.engine.execute(&sql, properties.into_iter().collect());
        Ok(Response::new(Responses { answers }))
    }
}

/// The answers of one call. Dropping it ends what runs for the call.
#[derive(Debug)]
pub struct Responses {
    answers: AnswerStream,
}

impl Stream for Responses {
    type Item = Result<v1::ExecuteResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.answers.poll_recv(context).map(|answer| {
            answer.map(|answer| match answer {
                Ok(answer) => Ok(v1::ExecuteResponse { answer: Some(wire_answer(answer)) }),
                Err(refusal) => Err(refusal.into()),
            })
        })
    }
}

fn wire_answer(answer: Answer) -> Wire {
    match answer {
        Answer::Columns(columns) => Wire::Columns(v1::Columns {
            columns: columns
                .into_iter()
                .map(|column| v1::Column { name: column.name, r#type: column.sql_type.to_string() })
                .collect(),
        }),
        Answer::Rows(rows) => Wire::Rows(v1::Rows {
            rows: rows
                .into_iter()
                .map(|row| v1::Row { values: row.into_iter().map(wire_value).collect() })
                .collect(),
        }),
        Answer::Done(text) => Wire::Done(text),
        Answer::Notice(text) => Wire::Notice(text),
        Answer::Properties(values) => {
            Wire::Properties(v1::Properties { values: values.into_iter().collect() })
        }
    }
}

fn wire_value(value: Value) -> v1::Value {
    use v1::value::Kind;
    let kind = match value {
        Value::Null => None,
        Value::Boolean(value) => Some(Kind::Boolean(value)),
        Value::Int(value) => Some(Kind::Integer(value.into())),
        Value::Bigint(value) => Some(Kind::Integer(value)),
        Value::Double(value) => Some(Kind::Number(value)),
        Value::String(value) => Some(Kind::Text(value)),
        Value::Bytes(value) => Some(Kind::Binary(value.into())),
        scalar @ (Value::Decimal(_) | Value::Date(_) | Value::Time(_) | Value::Timestamp(_)) => {
            Some(Kind::Other(scalar.to_string()))
        }
        nested @ (Value::Array(_) | Value::Map(_) | Value::Struct(_)) => {
            Some(Kind::Other(json_of(&nested).to_string()))
        }
    };
    v1::Value { kind }
}

/// A nested value for people and programs: scalars that JSON does not have are their text.
fn json_of(value: &Value) -> serde_json::Value {
    use serde_json::Value as Json;
    match value {
        Value::Null => Json::Null,
        Value::Boolean(value) => Json::from(*value),
        Value::Int(value) => Json::from(*value),
        Value::Bigint(value) => Json::from(*value),
        Value::Double(value) => Json::from(*value),
        Value::Array(items) => items.iter().map(json_of).collect(),
        Value::Map(entries) => Json::Object(
            entries.iter().map(|(key, value)| (key.to_string(), json_of(value))).collect(),
        ),
        Value::Struct(fields) => Json::Object(
            fields.iter().map(|(name, value)| (name.clone(), json_of(value))).collect(),
        ),
        scalar => Json::from(scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use sql::value::Decimal;

    use super::*;

    #[test]
    fn nested_values_are_json() {
        let value = Value::Struct(vec![
            ("A".into(), Value::Array(vec![Value::Int(1), Value::Null])),
            ("B".into(), Value::Decimal(Decimal { unscaled: 105, scale: 2 })),
        ]);
        let wire = wire_value(value);
        assert_eq!(wire.kind, Some(v1::value::Kind::Other(r#"{"A":[1,null],"B":"1.05"}"#.into())));
        assert_eq!(wire_value(Value::Null).kind, None);
    }
}
