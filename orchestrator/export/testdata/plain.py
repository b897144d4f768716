# Written by millrace from the pipeline plain (version 7ee326fd7d6cf7aa): change that, and export it again.
from __future__ import annotations

from datetime import timedelta

import pendulum

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:  # Airflow 2
    from airflow.operators.bash import BashOperator

with DAG(
    dag_id="plain",
    schedule="*/5 * * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="Asia/Tokyo"),
    catchup=False,
    max_active_runs=1,
    tags=["millrace"],
) as dag:
    task_alone = BashOperator(
        task_id="alone",
        bash_command="exec millrace task run alone --pipeline plain --file '/millrace/it'\\''s/pipeline.yaml' --state /millrace/state --run \"$MILLRACE_ARGUMENT_1\" --time \"$MILLRACE_ARGUMENT_2\"",
        env={
            "MILLRACE_ARGUMENT_1": "{{ run_id }}",
            "MILLRACE_ARGUMENT_2": "{{ data_interval_end.isoformat() if data_interval_end is defined and data_interval_end else '' }}",
        },
        append_env=True,
        retries=0,
        retry_delay=timedelta(seconds=10),
    )

