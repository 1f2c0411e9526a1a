# Worker, Command Center and jobs: one image, told apart by their command.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/app
WORKDIR /app

COPY requirements.txt ./
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.txt \
    && useradd --uid 10001 --home-dir /var/lib/drumbeat --create-home drumbeat

COPY starter.py worker.py ./
COPY activities activities
COPY drumbeat drumbeat
COPY workflows workflows
# Else each run of a workflow would compile its file anew, as this user may not keep the result.
RUN python -m compileall -q .

ENV DRUMBEAT_HOME=/var/lib/drumbeat
USER drumbeat
EXPOSE 8080
CMD ["python", "worker.py"]
