"""A locustfile of two dependent jobs: the second one's input is the first one's output.

Start it with: locust -f examples/two_jobs.py --headless --users 10 --run-time 60s --target URL
"""

from locust import between, tag, task

from loadtest.locust import EndpointUser


class Reader(EndpointUser):
    """Users who have a text summarized, and then the summary translated."""

    wait_time = between(0.1, 0.3)
    weight = 3

    @task(3)
    @tag("pipeline")
    def summarize_and_translate(self):
        """Submit the second job once the first has completed, with its output."""
        summary = self.endpoint.run({"summarize": "a long text"})
        if summary.completed:
            self.endpoint.runsync({"translate": summary.output, "of": summary.id})

    @task
    @tag("changes-its-mind")
    def change_its_mind(self):
        """Submit a job, look at its status, and cancel it."""
        job = self.endpoint.run({"summarize": "another text"}, wait=False)
        if self.endpoint.status(job).state == "IN_QUEUE":
            self.endpoint.cancel(job)
        self.endpoint.wait(job)


class Impatient(EndpointUser):
    """Users who wait for each answer, and ask again at once."""

    @task
    @tag("pipeline")
    def translate(self):
        """Submit one job."""
        self.endpoint.runsync({"translate": "hello"})
