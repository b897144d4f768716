// SPDX-License-Identifier: Apache-2.0

// Checks a server with @grpc/grpc-js and the proto files of this tree.
// usage: client.js HOST:PORT PROTO-FOLDER
'use strict';

const assert = require('node:assert/strict');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');

const [url, protos] = process.argv.slice(2);
const definition = protoLoader.loadSync('inference/grpc_service.proto', {
  includeDirs: [protos], keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true,
});
const { inference } = grpc.loadPackageDefinition(definition);
const client = new inference.GRPCInferenceService(url, grpc.credentials.createInsecure());

const left = Array.from({ length: 16 }, (_, i) => i);
const right = left.map(() => 1);
const sums = left.map((value) => value + 1);

/** Makes a unary call. */
function call(method, request) {
  return new Promise((resolve, reject) => {
    const deadline = Date.now() + 60_000;
    client[method](request, { deadline }, (error, response) => (error ? reject(error) : resolve(response)));
  });
}

/** An input whose values are typed contents. */
function typed(name, datatype, contents, shape) {
  return { name, datatype, shape, contents };
}

/** A request for the sum and difference of left and right. */
function simpleRequest(id) {
  const inputs = [['INPUT0', left], ['INPUT1', right]].map(
    ([name, values]) => typed(name, 'INT32', { int_contents: values }, [1, 16]));
  return { model_name: 'simple', id, inputs };
}

/** The values of an output of 32-bit integers, which is raw. */
function integers(response, index) {
  const raw = response.raw_output_contents[index];
  return Array.from({ length: raw.length / 4 }, (_, i) => raw.readInt32LE(4 * i));
}

async function checkUnary() {
  assert.equal((await call('ServerLive', {})).live, true);
  assert.equal((await call('ServerMetadata', {})).name, 'triton');
  assert.deepEqual((await call('ModelMetadata', { name: 'simple' })).inputs[0].shape, [-1, 16]);
  assert.equal((await call('ModelConfig', { name: 'simple' })).config.max_batch_size, 8);

  const response = await call('ModelInfer', simpleRequest('js'));
  assert.equal(response.id, 'js');
  assert.deepEqual(response.outputs.map((o) => o.name), ['OUTPUT0', 'OUTPUT1']);
  assert.deepEqual(integers(response, 0), sums);

  await assert.rejects(call('ModelInfer', { model_name: 'unknown' }),
    { code: grpc.status.NOT_FOUND, details: "Request for unknown model: 'unknown' is not found" });
}

/** Sends requests on one stream and returns as many answers. */
function stream(requests, answers) {
  return new Promise((resolve, reject) => {
    const seen = [];
    const duplex = client.ModelStreamInfer({ deadline: Date.now() + 60_000 });
    duplex.on('data', (answer) => seen.push(answer));
    duplex.on('error', reject);
    duplex.on('end', () => (seen.length === answers ? resolve(seen) : reject(new Error(`${seen.length} answers, want ${answers}`))));
    requests.forEach((request) => duplex.write(request));
    duplex.end();
  });
}

async function checkStreams() {
  const ids = left.map(String);
  const answers = await stream(ids.map(simpleRequest), ids.length);
  assert.deepEqual(answers.map((a) => a.infer_response.id), ids);
  answers.forEach((a) => assert.deepEqual(integers(a.infer_response, 0), sums));

  const repeat = { model_name: 'repeat_int32', inputs: [
    typed('IN', 'INT32', { int_contents: [4, 2, 0] }, [3]),
    typed('DELAY', 'UINT32', { uint_contents: [1, 1, 1] }, [3]),
    typed('WAIT', 'UINT32', { uint_contents: [0] }, [1]),
  ] };
  const repeated = await stream([repeat], 3);
  assert.deepEqual(repeated.map((a) => integers(a.infer_response, 0)), [[4], [2], [0]]);

  const [refused, good] = await stream([{ model_name: 'unknown' }, simpleRequest('after')], 2);
  assert.match(refused.error_message, /unknown model: 'unknown'/);
  assert.equal(good.infer_response.id, 'after');
}

checkUnary().then(checkStreams).then(() => client.close(), (error) => {
  console.error(error);
  process.exit(1);
});
