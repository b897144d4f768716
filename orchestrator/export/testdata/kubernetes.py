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
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from kubernetes.client import models as k8s

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
    task_extract = KubernetesPodOperator(
        task_id="extract",
        name="fraud-model-extract",
        namespace="ml",
        image="registry.example.com/millrace:1",
        cmds=[
            "millrace",
        ],
        arguments=[
            "task",
            "run",
            "extract",
            "--pipeline",
            "fraud_model",
            "--file",
            "/millrace/it's/pipeline.yaml",
            "--state",
            "/millrace/state",
            "--run",
            "{{ run_id }}",
            "--time",
            "{{ data_interval_end.isoformat() if data_interval_end is defined and data_interval_end else '' }}",
            "--param",
            "as_of={{ params.as_of }}",
            "--param",
            "days={{ params.days }}",
            "--param",
            "rate={{ params.rate }}",
            "--param",
            "full={{ params.full }}",
        ],
        volumes=[k8s.V1Volume(name="millrace", persistent_volume_claim=k8s.V1PersistentVolumeClaimVolumeSource(claim_name="millrace-claim"))],
        volume_mounts=[k8s.V1VolumeMount(name="millrace", mount_path="/millrace")],
        retries=0,
        retry_delay=timedelta(seconds=10),
        execution_timeout=timedelta(seconds=1890),
    )
    task_train_model = KubernetesPodOperator(
        task_id="train_model",
        name="fraud-model-train-model",
        namespace="ml",
        image="registry.example.com/millrace:1",
        cmds=[
            "millrace",
        ],
        arguments=[
            "task",
            "run",
            "train_model",
            "--pipeline",
            "fraud_model",
            "--file",
            "/millrace/it's/pipeline.yaml",
            "--state",
            "/millrace/state",
            "--run",
            "{{ run_id }}",
            "--time",
            "{{ data_interval_end.isoformat() if data_interval_end is defined and data_interval_end else '' }}",
            "--param",
            "as_of={{ params.as_of }}",
            "--param",
            "days={{ params.days }}",
            "--param",
            "rate={{ params.rate }}",
            "--param",
            "full={{ params.full }}",
        ],
        volumes=[k8s.V1Volume(name="millrace", persistent_volume_claim=k8s.V1PersistentVolumeClaimVolumeSource(claim_name="millrace-claim"))],
        volume_mounts=[k8s.V1VolumeMount(name="millrace", mount_path="/millrace")],
        retries=0,
        retry_delay=timedelta(seconds=10),
    )
    task_evaluate = KubernetesPodOperator(
        task_id="evaluate",
        name="fraud-model-evaluate",
        namespace="ml",
        image="registry.example.com/millrace:1",
        cmds=[
            "millrace",
        ],
        arguments=[
            "task",
            "run",
            "evaluate",
            "--pipeline",
            "fraud_model",
            "--file",
            "/millrace/it's/pipeline.yaml",
            "--state",
            "/millrace/state",
            "--run",
            "{{ run_id }}",
            "--time",
            "{{ data_interval_end.isoformat() if data_interval_end is defined and data_interval_end else '' }}",
            "--param",
            "as_of={{ params.as_of }}",
            "--param",
            "days={{ params.days }}",
            "--param",
            "rate={{ params.rate }}",
            "--param",
            "full={{ params.full }}",
        ],
        volumes=[k8s.V1Volume(name="millrace", persistent_volume_claim=k8s.V1PersistentVolumeClaimVolumeSource(claim_name="millrace-claim"))],
        volume_mounts=[k8s.V1VolumeMount(name="millrace", mount_path="/millrace")],
        retries=0,
        retry_delay=timedelta(seconds=10),
    )
    task_promote = KubernetesPodOperator(
        task_id="promote",
        name="fraud-model-promote",
        namespace="ml",
        image="registry.example.com/millrace:1",
        cmds=[
            "millrace",
        ],
        arguments=[
            "task",
            "run",
            "promote",
            "--pipeline",
            "fraud_model",
            "--file",
            "/millrace/it's/pipeline.yaml",
            "--state",
            "/millrace/state",
            "--run",
            "{{ run_id }}",
            "--time",
            "{{ data_interval_end.isoformat() if data_interval_end is defined and data_interval_end else '' }}",
            "--param",
            "as_of={{ params.as_of }}",
            "--param",
            "days={{ params.days }}",
            "--param",
            "rate={{ params.rate }}",
            "--param",
            "full={{ params.full }}",
        ],
        volumes=[k8s.V1Volume(name="millrace", persistent_volume_claim=k8s.V1PersistentVolumeClaimVolumeSource(claim_name="millrace-claim"))],
        volume_mounts=[k8s.V1VolumeMount(name="millrace", mount_path="/millrace")],
        retries=0,
        retry_delay=timedelta(seconds=10),
    )
    task_notify = KubernetesPodOperator(
        task_id="notify",
        name="fraud-model-notify",
        namespace="ml",
        image="registry.example.com/millrace:1",
        cmds=[
            "millrace",
        ],
        arguments=[
            "task",
            "run",
            "notify",
            "--pipeline",
            "fraud_model",
            "--file",
            "/millrace/it's/pipeline.yaml",
            "--state",
            "/millrace/state",
            "--run",
            "{{ run_id }}",
            "--time",
            "{{ data_interval_end.isoformat() if data_interval_end is defined and data_interval_end else '' }}",
            "--param",
            "as_of={{ params.as_of }}",
            "--param",
            "days={{ params.days }}",
            "--param",
            "rate={{ params.rate }}",
            "--param",
            "full={{ params.full }}",
        ],
        volumes=[k8s.V1Volume(name="millrace", persistent_volume_claim=k8s.V1PersistentVolumeClaimVolumeSource(claim_name="millrace-claim"))],
        volume_mounts=[k8s.V1VolumeMount(name="millrace", mount_path="/millrace")],
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
