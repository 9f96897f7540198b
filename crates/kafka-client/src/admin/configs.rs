//! Configuration of topics and brokers.

use kafka_proto::messages::alter_configs::{
    AlterConfigsRequest, AlterConfigsResource as ReplaceResource,
    AlterConfigsResourceResponse as ReplaceResult,
};
use kafka_proto::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResult,
};
use kafka_proto::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, IncrementalAlterConfigsRequest,
};

use super::Patience;
use crate::{ClientError, KafkaClient, Node};

/// Resource type of a broker's configuration; topics are 2.
const BROKER: i8 = 4;

/// A broker's own configuration is asked of that broker, everything else of anyone. The name
/// is empty for the default of all brokers.
fn node_for(resource_type: i8, name: &str) -> Node {
    match name.parse() {
        Ok(id) if resource_type == BROKER => Node::Id(id),
        _ => Node::Any,
    }
}

impl KafkaClient {
    /// Configurations with their sources; `synonyms` adds where each value comes from (DescribeConfigs 1).
    pub async fn describe_configs(
        &self,
        resources: &[DescribeConfigsResource],
        synonyms: bool,
    ) -> Result<Vec<DescribeConfigsResult>, ClientError> {
        let what = "describing configurations";
        let mut out = Vec::new();
        for resource in resources {
            let node = node_for(resource.resource_type, &resource.resource_name);
            let patience = Patience::new();
            let results = self
                .retrying(what, || async {
                    let request = |version| DescribeConfigsRequest {
                        resources: vec![resource.clone()],
                        include_synonyms: synonyms && version >= 1,
                        ..Default::default()
                    };
                    let (_, response) = self.call_with(node, request).await?;
                    patience.check(response.results.iter().map(|r| r.error_code), what)?;
                    Ok(response.results)
                })
                .await?;
            out.extend(results);
        }
        Ok(out)
    }

    /// Sets, deletes, appends to or subtracts from single values (2.3 and later).
    pub async fn incremental_alter_configs(
        &self,
        resources: &[AlterConfigsResource],
        validate_only: bool,
    ) -> Result<Vec<AlterConfigsResourceResponse>, ClientError> {
        let what = "altering configurations";
        let mut out = Vec::new();
        for resource in resources {
            let node = node_for(resource.resource_type, &resource.resource_name);
            let request = IncrementalAlterConfigsRequest { resources: vec![resource.clone()], validate_only };
            let patience = Patience::new();
            let results = self
                .retrying(what, || async {
                    let response = self.call(node, &request).await?;
                    patience.check(response.responses.iter().map(|r| r.error_code), what)?;
                    Ok(response.responses)
                })
                .await?;
            out.extend(results);
        }
        Ok(out)
    }

    /// Replaces the whole configuration of resources: what is not named goes back to its default.
    pub async fn alter_configs(
        &self,
        resources: &[ReplaceResource],
        validate_only: bool,
    ) -> Result<Vec<ReplaceResult>, ClientError> {
        let what = "altering configurations";
        let mut out = Vec::new();
        for resource in resources {
            let node = node_for(resource.resource_type, &resource.resource_name);
            let request = AlterConfigsRequest { resources: vec![resource.clone()], validate_only };
            let patience = Patience::new();
            let results = self
                .retrying(what, || async {
                    let response = self.call(node, &request).await?;
                    patience.check(response.responses.iter().map(|r| r.error_code), what)?;
                    Ok(response.responses)
                })
                .await?;
            out.extend(results);
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_answer_for_themselves() {
        assert_eq!(node_for(BROKER, "3"), Node::Id(3));
        assert_eq!(node_for(BROKER, ""), Node::Any);
        assert_eq!(node_for(2, "3"), Node::Any);
    }
}
