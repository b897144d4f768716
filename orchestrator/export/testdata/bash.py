# Written by millrace from the pipeline fraud_model (version 9a4fbbfec868e0bf): change that, and export it again.
from __future__ import annotations

from datetime import timedelta

import pendulum

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG
try:
    from airflow.providers.standard.operators.empty import EmptyOperator
except ImportError:  # Airflow 2
    from airflow.operators.empty import EmptyOperator
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:  # Airflow 2
    from airflow.operators.bash import BashOperator

with DAG(
    dag_id="fraud_model",
    description="Trains \"the\" model, each night",
    schedule="0 3 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="Europe/Berlin"),
    catchup=False,
    max_active_runs=1,
    max_active_tasks=2,
    params={
        "as_of": "now",
        "days": 30,
        "rate": 0.5,
        "full": False,
    },
    tags=["millrace"],
) as dag:
    task_extract = BashOperator(
        task_id="extract",
        bash_command="exec millrace task run extract --pipeline fraud_model --file '/millrace/it'\\''s/pipeline.yaml' --state /millrace/state --run \"$MILLRACE_ARGUMENT_1\" --time \"$MILLRACE_ARGUMENT_2\" --param \"$MILLRACE_ARGUMENT_3\" --param \"$MILLRACE_ARGUMENT_4\" --param \"$MILLRACE_ARGUMENT_5\" --param \"$MILLRACE_ARGUMENT_6\"",
        env={
            "MILLRACE_ARGUMENT_1": "{{ run_id }}",
            "MILLRACE_ARGUMENT_2": "{{ data_interval_end.isoformat() if data_interval_end is defined and data_interval_end else '' }}",
            "MILLRACE_ARGUMENT_3": "as_of={{ params.as_of }}",
            "MILLRACE_ARGUMENT_4": "days={{ params.days }}",
            "MILLRACE_ARGUMENT_5": "rate={{ params.rate }}",
            "MILLRACE_ARGUMENT_6": "full={{ params.full }}",
        },
        append_env=True,
        retries=0,
        retry_delay=timedelta(seconds=10),
        execution_timeout=timedelta(seconds=1890),
    )
    task_train_model = BashOperator(
        task_id="train_model",
        bash_command="exec millrace task run train_model --pipeline fraud_model --file '/millrace/it'\\''s/pipeline.yaml' --state /millrace/state --run \"$MILLRACE_ARGUMENT_1\" --time \"$MILLRACE_ARGUMENT_2\" --param \"$MILLRACE_ARGUMENT_3\" --param \"$MILLRACE_ARGUMENT_4\" --param \"$MILLRACE_ARGUMENT_5\" --param \"$MILLRACE_ARGUMENT_6\"",
        env={
            "MILLRACE_ARGUMENT_1": "{{ run_id }}",
            "MILLRACE_ARGUMENT_2": "{{ data_interval_end.isoformat() if data_interval_end is defined and data_interval_end else '' }}",
            "MILLRACE_ARGUMENT_3": "as_of={{ params.as_of }}",
            "MILLRACE_ARGUMENT_4": "days={{ params.days }}",
            "MILLRACE_ARGUMENT_5": "rate={{ params.rate }}",
            "MILLRACE_ARGUMENT_6": "full={{ params.full }}",
        },
        append_env=True,
        retries=0,
        retry_delay=timedelta(seconds=10),
    )
    task_evaluate = BashOperator(
        task_id="evaluate",
        bash_command="exec millrace task run evaluate --pipeline fraud_model --file '/millrace/it'\\''s/pipeline.yaml' --state /millrace/state --run \"$MILLRACE_ARGUMENT_1\" --time \"$MILLRACE_ARGUMENT_2\" --param \"$MILLRACE_ARGUMENT_3\" --param \"$MILLRACE_ARGUMENT_4\" --param \"$MILLRACE_ARGUMENT_5\" --param \"$MILLRACE_ARGUMENT_6\"",
        env={
            "MILLRACE_ARGUMENT_1": "{{ run_id }}",
            "MILLRACE_ARGUMENT_2": "{{ data_interval_end.isoformat() if data_interval_end is defined and data_interval_end else '' }}",
            "MILLRACE_ARGUMENT_3": "as_of={{ params.as_of }}",
            "MILLRACE_ARGUMENT_4": "days={{ params.days }}",
            "MILLRACE_ARGUMENT_5": "rate={{ params.rate }}",
            "MILLRACE_ARGUMENT_6": "full={{ params.full }}",
        },
        append_env=True,
        retries=0,
        retry_delay=timedelta(seconds=10),
    )
    task_promote = BashOperator(
        task_id="promote",
        bash_command="exec millrace task run promote --pipeline fraud_model --file '/millrace/it'\\''s/pipeline.yaml' --state /millrace/state --run \"$MILLRACE_ARGUMENT_1\" --time \"$MILLRACE_ARGUMENT_2\" --param \"$MILLRACE_ARGUMENT_3\" --param \"$MILLRACE_ARGUMENT_4\" --param \"$MILLRACE_ARGUMENT_5\" --param \"$MILLRACE_ARGUMENT_6\"",
        env={
            "MILLRACE_ARGUMENT_1": "{{ run_id }}",
            "MILLRACE_ARGUMENT_2": "{{ data_interval_end.isoformat() if data_interval_end is defined and data_interval_end else '' }}",
            "MILLRACE_ARGUMENT_3": "as_of={{ params.as_of }}",
            "MILLRACE_ARGUMENT_4": "days={{ params.days }}",
            "MILLRACE_ARGUMENT_5": "rate={{ params.rate }}",
            "MILLRACE_ARGUMENT_6": "full={{ params.full }}",
        },
        append_env=True,
        retries=0,
        retry_delay=timedelta(seconds=10),
    )
    task_notify = BashOperator(
        task_id="notify",
        bash_command="exec millrace task run notify --pipeline fraud_model --file '/millrace/it'\\''s/pipeline.yaml' --state /millrace/state --run \"$MILLRACE_ARGUMENT_1\" --time \"$MILLRACE_ARGUMENT_2\" --param \"$MILLRACE_ARGUMENT_3\" --param \"$MILLRACE_ARGUMENT_4\" --param \"$MILLRACE_ARGUMENT_5\" --param \"$MILLRACE_ARGUMENT_6\"",
        env={
            "MILLRACE_ARGUMENT_1": "{{ run_id }}",
            "MILLRACE_ARGUMENT_2": "{{ data_interval_end.isoformat() if data_interval_end is defined and data_interval_end else '' }}",
            "MILLRACE_ARGUMENT_3": "as_of={{ params.as_of }}",
            "MILLRACE_ARGUMENT_4": "days={{ params.days }}",
            "MILLRACE_ARGUMENT_5": "rate={{ params.rate }}",
            "MILLRACE_ARGUMENT_6": "full={{ params.full }}",
        },
        append_env=True,
        retries=0,
        retry_delay=timedelta(seconds=10),
        trigger_rule="all_done",
    )

    task_extract >> task_train_model
    task_extract >> task_evaluate
    task_train_model >> task_evaluate
    task_evaluate >> task_promote
    task_extract >> task_notify
    task_train_model >> task_notify
    task_evaluate >> task_notify
    task_promote >> task_notify
    # A run in which a task failed has failed, whatever ran after that.
    tasks = [
        task_extract,
        task_train_model,
        task_evaluate,
        task_promote,
        task_notify,
    ]
    tasks >> EmptyOperator(task_id="millrace-end", trigger_rule="none_failed")
