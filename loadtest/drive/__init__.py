"""What sends: Locust users, the load shape, the request engine. The only room that imports gevent or locust."""
