package org.sparkvault.fargate

import scala.jdk.CollectionConverters._

import com.fasterxml.jackson.databind.ObjectMapper

import software.amazon.awssdk.services.ecs.model._

/**
 * One kind of executor (a resource profile) as RunTask wants it.
 *
 * @param size of the task
 * @param command of the executor's container: a whole `java …`
 * @param environment of the executor's container; nothing secret in clear
 */
final case class TaskLaunch(
    conf: FargateConf,
    definition: String,
    size: FargateSize,
    command: Seq[String],
    environment: Map[String, String]) {

  private val container = conf(Settings.Container)

  private def overrides: TaskOverride = {
    val inside = ContainerOverride.builder().name(container).command(command.asJava)
      .environment(environment.toSeq.sortBy(_._1).map { case (name, value) =>
        KeyValuePair.builder().name(name).value(value).build()
      }.asJava).build()
    val builder = TaskOverride.builder().cpu(size.cpuUnits.toString).memory(size.memoryMib.toString).containerOverrides(inside)
    conf.get(Settings.Role).foreach(builder.taskRoleArn(_))
    conf.get(Settings.ExecutionRole).foreach(builder.executionRoleArn(_))
    conf.get(Settings.Storage).foreach(gib => builder.ephemeralStorage(EphemeralStorage.builder().sizeInGiB(gib.toInt).build()))
    builder.build()
  }

  /** The call for `count` of them. */
  def request(cluster: String, applicationId: String, token: String, count: Int): RunTaskRequest = {
    val network = AwsVpcConfiguration.builder()
      .subnets(conf.list(Settings.Subnets).asJava)
      .securityGroups(conf.list(Settings.Groups).asJava)
      .assignPublicIp(AssignPublicIp.DISABLED)
      .build()
    val tags = Seq("sparkvault:application" -> applicationId, "sparkvault:tenant" -> conf(Settings.Tenant)) ++ conf.tags
    val builder = RunTaskRequest.builder()
      .cluster(cluster).taskDefinition(definition).count(count).clientToken(token).startedBy(applicationId)
      .networkConfiguration(NetworkConfiguration.builder().awsvpcConfiguration(network).build())
      .platformVersion(conf(Settings.Platform))
      .overrides(overrides)
      .enableExecuteCommand(false)
      .enableECSManagedTags(true)
      .tags(tags.map { case (key, value) => Tag.builder().key(key).value(value).build() }.asJava)
    conf.capacity match {
      case Seq(CapacityShare("FARGATE", _, _)) => builder.launchType(LaunchType.FARGATE)
      case shares => builder.capacityProviderStrategy(shares.map { share =>
          CapacityProviderStrategyItem.builder().capacityProvider(share.provider).base(share.base).weight(share.weight).build()
        }.asJava)
    }
    builder.build()
  }

  /** Characters of the overrides as JSON, generously. */
  def overrideCharacters: Int = {
    val texts = command ++ environment.flatMap { case (name, value) => Seq(name, value) }
    400 + command.size * 4 + environment.size * 24 +
      texts.map(text => TaskLaunch.json.writeValueAsString(text).length).sum
  }

  /** Throws SettingsRefused where the overrides are longer than ECS takes (API reference, TaskOverride: 8192). */
  def checked: TaskLaunch =
    if (overrideCharacters <= TaskLaunch.OverridesMax) this
    else throw new SettingsRefused(Seq(s"the executors' command and environment take $overrideCharacters characters and ECS " +
      s"takes ${TaskLaunch.OverridesMax}: shorten spark.executor.extraJavaOptions, extraClassPath or spark.executorEnv.*"))
}

object TaskLaunch {

  val OverridesMax = 8192

  private val json = new ObjectMapper

  /** The task definition of an application that was given none. */
  def definition(conf: FargateConf, applicationId: String, size: FargateSize): RegisterTaskDefinitionRequest = {
    val container = ContainerDefinition.builder()
      .name(conf(Settings.Container)).image(conf(Settings.Image)).essential(true)
      .readonlyRootFilesystem(true)
      .stopTimeout((conf.millis(Settings.StopTimeout) / 1000).toInt)
      .mountPoints(Seq("tmp" -> "/tmp", "work" -> s"${conf(Settings.SparkHome)}/work-dir").map { case (volume, path) =>
        MountPoint.builder().sourceVolume(volume).containerPath(path).build()
      }.asJava)
    conf.get(Settings.LogGroup).foreach { group =>
      container.logConfiguration(LogConfiguration.builder().logDriver(LogDriver.AWSLOGS).options(Map(
        "awslogs-group" -> group, "awslogs-region" -> conf.region,
        "awslogs-stream-prefix" -> conf(Settings.LogPrefix)).asJava).build())
    }
    val builder = RegisterTaskDefinitionRequest.builder()
      .family(s"sparkvault-$applicationId").requiresCompatibilities(Compatibility.FARGATE).networkMode(NetworkMode.AWSVPC)
      .cpu(size.cpuUnits.toString).memory(size.memoryMib.toString)
      .executionRoleArn(conf(Settings.ExecutionRole))
      .runtimePlatform(RuntimePlatform.builder().operatingSystemFamily(OSFamily.LINUX)
        .cpuArchitecture(conf(Settings.Architecture)).build())
      .volumes(Volume.builder().name("tmp").build(), Volume.builder().name("work").build())
      .containerDefinitions(container.build())
    conf.get(Settings.Role).foreach(builder.taskRoleArn(_))
    builder.build()
  }
}
