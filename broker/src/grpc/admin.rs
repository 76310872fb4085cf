//! Topics and settings over gRPC: translation only.

use protocol::grpc::admin::{IncomingChange, topic_name};
use protocol::grpc::v1;
use protocol::verbs::TopicSpec;
use tonic::{Request, Response, Status};

use crate::service::Service;

/// The service `thalweg.v1.Admin`.
#[derive(Clone, Debug)]
pub(crate) struct AdminService {
    service: Service,
}

impl AdminService {
    pub(crate) fn new(service: Service) -> Self {
        Self { service }
    }
}

#[tonic::async_trait]
impl v1::admin_server::Admin for AdminService {
    async fn create_topic(
        &self,
        request: Request<v1::CreateTopicRequest>,
    ) -> Result<Response<v1::CreateTopicResponse>, Status> {
        let spec: TopicSpec = request.into_inner().try_into()?;
        let topic = self.service.create_topic(spec).await?;
        Ok(Response::new(v1::CreateTopicResponse { topic: Some(topic.into()) }))
    }

    async fn describe_topic(
        &self,
        request: Request<v1::DescribeTopicRequest>,
    ) -> Result<Response<v1::DescribeTopicResponse>, Status> {
        let topic = self.service.describe_topic(&topic_name(&request.into_inner().name)?)?;
        Ok(Response::new(v1::DescribeTopicResponse { topic: Some(topic.into()) }))
    }

    async fn list_topics(
        &self,
        _: Request<v1::ListTopicsRequest>,
    ) -> Result<Response<v1::ListTopicsResponse>, Status> {
        let topics = self.service.list_topics().into_iter().map(Into::into).collect();
        Ok(Response::new(v1::ListTopicsResponse { topics }))
    }

    async fn alter_topic(
        &self,
        request: Request<v1::AlterTopicRequest>,
    ) -> Result<Response<v1::AlterTopicResponse>, Status> {
        let IncomingChange { name, change } = request.into_inner().try_into()?;
        let topic = self.service.alter_topic(&name, change).await?;
        Ok(Response::new(v1::AlterTopicResponse { topic: Some(topic.into()) }))
    }

    async fn delete_topic(
        &self,
        request: Request<v1::DeleteTopicRequest>,
    ) -> Result<Response<v1::DeleteTopicResponse>, Status> {
        self.service.delete_topic(&topic_name(&request.into_inner().name)?).await?;
        Ok(Response::new(v1::DeleteTopicResponse {}))
    }

    async fn describe_broker(
        &self,
        _: Request<v1::DescribeBrokerRequest>,
    ) -> Result<Response<v1::DescribeBrokerResponse>, Status> {
        Ok(Response::new(self.service.describe_broker().into()))
    }
}
