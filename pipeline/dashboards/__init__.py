"""What people watch: panels stated once, drawn by Grafana (`flightline dashboards`) and as a page of our own.

The second is `flightline dashboard --prometheus URL`, for where there is no Grafana.
"""
