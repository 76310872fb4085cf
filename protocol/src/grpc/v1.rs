//! What `protocol/proto/*.proto` generates: nothing here is written by hand.

tonic::include_proto!("thalweg.v1");
