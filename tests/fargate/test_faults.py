"""Whatever AWS does to its tasks, an application's answer is right and nothing of it is left behind."""

import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from emulation.ecs import Task
from emulation.ecs.faults import NO_PULL
from tests.fargate.world import World, is_right
from tests.support.local_cluster import wait_until

LONG = pytest.mark.campaign


def test_half_of_all_calls_throttled(world: World) -> None:
    world.faults.throttle = 0.5
    with world.application() as application:
        application.up().job_is_right()
        assert world.ecs.service.calls["throttled"] > 0


@pytest.mark.parametrize("seconds", [5, pytest.param(30, marks=LONG)])
def test_no_capacity_for_a_while(world: World, seconds: int) -> None:
    world.faults.no_capacity_for(seconds)
    with world.application() as application:
        application.up().job_is_right()
        assert "Capacity is unavailable" in application.log()
        assert "spark.fargate.capacityProviders=FARGATE,FARGATE_SPOT" in application.log()


def test_half_of_each_launch_fails_and_answers_get_lost(world: World) -> None:
    world.faults.partial = 0.5
    world.faults.lost_answers = 0.3
    with world.application(executors=3) as application:
        application.up().job_is_right()
        application.wait_for_executors(3)
        assert sum(task.desired == "RUNNING" for task in application.tasks) == 3


@pytest.mark.parametrize("seconds", [4, pytest.param(20, marks=LONG)])
def test_ecs_does_not_know_its_tasks_for_a_while(world: World, seconds: int) -> None:
    world.faults.missing_seconds = seconds
    with world.application(spark_fargate_missing_timeout=f"{seconds + 20}s") as application:
        application.up().job_is_right()
        assert len(application.tasks) == 2, "a task that is MISSING for a moment is not replaced"


def test_an_executor_runs_out_of_memory(world: World) -> None:
    with world.application() as application:
        job = application.up().job(pause=400)
        world.ecs.service.run_out_of_memory(application.tasks[0])
        assert "raise spark.executor.memoryOverhead" in application.wait_for_removal("ran out of memory")
        is_right(job)


def test_an_executor_dies_in_each_phase_of_its_life(world: World) -> None:
    """Before its image is there, between start and registration, while it idles, and in the middle of a task."""
    world.faults.start_failures.append(NO_PULL)
    killed_at_start: list[Task] = []

    def kill_the_second(task: Task) -> None:
        if task.status == "RUNNING" and not killed_at_start:
            killed_at_start.append(task)
            task.send(signal.SIGKILL)

    world.ecs.service.watchers.append(kill_the_second)
    with world.application() as application:
        application.up()
        application.wait_for_executors(2)
        assert "see that spark.fargate.container.image exists" in application.log()
        next(task for task in application.tasks if task.alive).send(signal.SIGKILL)
        application.wait_for_removal("137")
        application.wait_for_executors(2)
        job = application.job(maps=12, pause=300)
        [task for task in application.tasks if task.alive][-1].send(signal.SIGKILL)
        is_right(job, maps=12)
        assert len(application.tasks) >= 5


def test_spot_takes_half_of_the_executors_during_a_shuffle(world: World) -> None:
    with world.application(spark_fargate_capacityProviders="FARGATE_SPOT") as application:
        job = application.up().job(maps=12, pause=300)
        world.ecs.service.interrupt_spot(application.tasks[0])
        is_right(job, maps=12)
        reasons = application.driver.state()["removed"].values()
        assert not any("137" in reason for reason in reasons), reasons
        assert application.tasks[0].provider == "FARGATE_SPOT"


@LONG
def test_speculation_counts_nothing_twice(world: World) -> None:
    """An executor hangs with a task, which another does as well; then it wakes up and hands in its own."""
    with world.application(
        spark_speculation="true",
        spark_speculation_interval="200ms",
        spark_speculation_quantile="0.5",
        spark_speculation_minTaskRuntime="100ms",
    ) as application:
        application.up().wait_for_executors(2)
        job = application.job(maps=16, pause=500)
        wait_until("tasks on both", lambda: application.driver.state()["tasks"] >= 4)
        slow = application.tasks[0]
        slow.send(signal.SIGSTOP)
        wait_until("speculation", lambda: "as speculatable" in application.log())
        slow.send(signal.SIGCONT)
        is_right(job, maps=16)


@pytest.mark.parametrize("seconds", [6, pytest.param(60, marks=LONG)])
def test_an_executor_dies_while_ecs_describes_nothing(world: World, seconds: int) -> None:
    with world.application() as application:
        application.up()
        world.faults.describe_down_for(seconds)
        job = application.job(maps=12, pause=200)
        application.tasks[0].send(signal.SIGKILL)
        is_right(job, maps=12)
        application.wait_for_removal("ECS could not say why in time")


def test_a_task_that_never_registers_is_replaced(world: World) -> None:
    world.faults.mute_tasks = 1
    with world.application(spark_fargate_launch_timeout="25s") as application:
        application.up().job_is_right()
        application.wait_for_executors(2)
        mute = application.tasks[0]
        wait_until("the mute task to be stopped", lambda: mute.over.is_set())


def test_a_secret_that_does_not_open_ends_the_application_at_once(world: World) -> None:
    with world.application(spark_authenticate_kms_ciphertext=world.wrapped_for("another", "x" * 64)) as application:
        wait_until("the application to end", lambda: "The application ends" in application.log(), 60)
        assert "could not decrypt the application's secret" in application.log()
        assert {task.exit_code for task in application.tasks if task.exit_code is not None} == {72}
        application.started.result(60)


def test_a_driver_that_is_killed_leaves_no_executor(world: World) -> None:
    driver = world.new_driver("killed-driver")
    with world.application(driver=driver, spark_fargate_executor_driverTimeout="8s") as application:
        application.up()
        driver.process.kill()
        driver.process.wait(10)


def test_a_launch_whose_answer_is_lost_as_the_application_ends(world: World) -> None:
    """ListTasks does not show its task yet: only RunTask, asked once more in the same name, can tell of it."""
    with world.application(executors=1) as application:
        application.up()
        world.faults.missing_seconds = 8
        world.faults.lost_answers = 1.0
        ended = application.log().count("Shutting down all executors")
        application.tasks[0].send(signal.SIGKILL)
        wait_until("another task", lambda: len(application.tasks) == 2)
        stopping = application.driver.tell("stop")
        wait_until("the end to begin", lambda: application.log().count("Shutting down all executors") > ended)
        world.faults.lost_answers = 0.0
        stopping.result(60)


def test_a_partition_between_driver_and_executors(world: World) -> None:
    """A cut that closes nothing: the driver replaces what it cannot hear, and the lost one ends by itself."""
    with (
        relay("127.0.250.1") as network,
        world.application(
            spark_driver_host="127.0.250.1",
            spark_driver_port=str(network.ports[0]),
            spark_driver_blockManager_port=str(network.ports[1]),
            spark_fargate_executor_driverTimeout="5s",
            spark_executor_heartbeatInterval="1s",
            spark_network_timeout="12s",
            spark_network_timeoutInterval="2s",
        ) as application,
    ):
        application.up()
        before = [task for task in application.tasks if task.alive]
        network.cut.set()
        for task in before:
            assert task.over.wait(60), "an executor without its driver goes on"
        network.cut.clear()
        application.wait_for_executors(2)
        application.job_is_right()


@pytest.mark.parametrize("seed", [*range(5), *(pytest.param(seed, marks=LONG) for seed in range(5, 100))])
def test_mixed_faults_on_a_seed(world: World, seed: int) -> None:
    world.heal(seed)
    chance = random.Random(seed)  # noqa: S311 - repeatable
    world.faults.throttle = chance.choice([0.0, 0.2, 0.4])
    world.faults.partial = chance.choice([0.0, 0.3])
    world.faults.lost_answers = chance.choice([0.0, 0.15])
    world.faults.missing_seconds = chance.choice([0.0, 1.0, 3.0])
    world.faults.start_failures.extend(chance.choice(["", NO_PULL]) for _ in range(2))
    with world.application() as application:
        job = application.up().job(maps=10, pause=150)
        time.sleep(chance.uniform(0.0, 1.0))
        victims = [task for task in application.tasks if task.alive]
        if victims:
            victim = chance.choice(victims)
            service = world.ecs.service
            ends: list[Callable[[Task], None]] = [service.interrupt_spot, service.run_out_of_memory, kill]
            chance.choice(ends)(victim)
        if chance.random() < 0.3:
            world.faults.describe_down_for(3)
        is_right(job, maps=10)


def kill(task: Task) -> None:
    task.send(signal.SIGKILL)


class Relay:
    """Ports of one address led on to the same ports of 127.0.0.1, until ``cut`` swallows everything."""

    def __init__(self, address: str) -> None:
        self.cut = threading.Event()
        self._over = threading.Event()
        self._listeners = [socket.create_server((address, 0)) for _ in range(2)]
        self.ports = [listener.getsockname()[1] for listener in self._listeners]
        for listener in self._listeners:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def close(self) -> None:
        self._over.set()
        for listener in self._listeners:
            listener.close()

    def _accept(self, listener: socket.socket) -> None:
        while not self._over.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if self.cut.is_set():
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", listener.getsockname()[1]))
            except OSError:
                client.close()
                continue
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if not self.cut.is_set():
                    sink.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                end.close()


@contextmanager
def relay(address: str) -> Iterator[Relay]:
    made = Relay(address)
    try:
        yield made
    finally:
        made.close()
