import http from 'k6/http';
import exec from 'k6/execution';
import { Trend } from 'k6/metrics';

const rate = Number(__ENV.RATE);
const lag = new Trend('send_lag');
const parameters = { headers: { Authorization: 'Bearer local', 'Content-Type': 'application/json' } };

export const options = {
  systemTags: [],
  summaryTrendStats: ['p(50)', 'p(99)', 'max'],
  insecureSkipTLSVerify: true,
  scenarios: {
    bench: rate
      ? { executor: 'constant-arrival-rate', rate: rate, duration: __ENV.FOR, preAllocatedVUs: 64, maxVUs: 512 }
      : { executor: 'constant-vus', vus: 64, duration: __ENV.FOR },
  },
};

export default function () {
  if (rate) lag.add(Date.now() - exec.scenario.startTime - (exec.scenario.iterationInTest * 1000) / rate);
  http.post(`${__ENV.URL}/runsync`, '{"input":{"prompt":"hello"}}', parameters);
}
