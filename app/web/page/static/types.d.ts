/** Types of the API, from the OpenAPI document: `openapi-typescript` makes `schema.d.ts` when the types are checked. */
import type { components } from "./schema";

type Schemas = components["schemas"];
export type Service = Schemas["ServiceView"];
export type Model = Schemas["ModelView"];
export type Adapter = Schemas["AdapterView"];
export type AdapterChoice = Schemas["AdapterChoice"];
export type Sampler = Schemas["SamplerListing"];
export type Job = Schemas["JobView"];
export type JobResult = Schemas["JobResultView"];
export type Generated = Schemas["GenerateView"];
export type Parameters = Schemas["GenerationParameters"];
export type DryRun = Schemas["DryRunView"];
export type Pool = Schemas["PoolView"];
export type Component = Schemas["ComponentView"];
export type Device = Schemas["DeviceView"];
export type Decision = Schemas["DecisionView"];
export type Problem = Schemas["Problem"];
