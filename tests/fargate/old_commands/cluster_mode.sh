# The command of the design that this one follows, its variables filled in by the test; only the master's address and the
# jar's path are others than they were.
bin/spark-submit \
    --master ${master} \
    --deploy-mode cluster \
    --conf spark.fargate.container.image=${executor_image} \
    --conf spark.fargate.driver.securityGroups=${driver_sgs} \
    --conf spark.fargate.executor.securityGroups=${executor_sgs} \
    --conf spark.fargate.driver.subnets=${driver_subnets} \
    --conf spark.fargate.executor.subnets=${executor_subnets} \
    --conf spark.driver.memory=8g \
    --conf spark.driver.cores=4 \
    --conf spark.executor.instances=2 \
    --conf spark.executor.memory=8g \
    --conf spark.executor.cores=4 \
    --conf spark.fargate.report.interval=5s \
    --conf spark.fargate.executionRole=${execution_role} \
    --conf spark.fargate.driver.taskRole=${driver_task_role} \
    --conf spark.fargate.executor.taskRole=${execution_role} \
    --conf spark.hadoop.fs.s3a.aws.credentials.provider=com.amazonaws.auth.DefaultAWSCredentialsProviderChain \
    ${options} \
    --class org.apache.spark.examples.SparkPi \
    ${jar} 20
