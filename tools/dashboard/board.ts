// A dashboard as Grafana's own package of types has it, with what that leaves to plugins: the options of the panels that we
// use, and the queries of Prometheus, of which it has no type.

import type {
    Dashboard,
    DataSourceRef,
    FieldConfig,
    FieldConfigSource,
    Panel,
    RowPanel,
} from "@grafana/schema/dist/esm/raw/dashboard/x/Dashboard_types.gen";
import type { Options as StatOptions } from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type {
    FieldConfig as TimeSeriesFieldConfig,
    Options as TimeSeriesOptions,
} from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";
import type { DataQuery } from "@grafana/schema";

// As JSON has it: the value of an enum of strings, where TypeScript wants its name.
type Json<T> = T extends string
    ? `${T}`
    : T extends (infer Each)[]
      ? Json<Each>[]
      : T extends object
        ? { [Key in keyof T]: Json<T[Key]> }
        : T;

type With<Base, More> = Json<Omit<Base, keyof More>> & Json<More>;

interface Query extends Omit<DataQuery, "datasource"> {
    datasource: DataSourceRef;
    expr: string;
    exemplar?: boolean;
    format?: "time_series" | "table" | "heatmap";
    instant?: boolean;
    interval?: string;
    legendFormat?: string;
    range?: boolean;
}

// What draws by itself has a title, a place and a source here, which the package leaves open.
interface Drawn<Type, Options, Custom> {
    type: Type;
    id: number;
    title: string;
    datasource: DataSourceRef;
    gridPos: NonNullable<Panel["gridPos"]>;
    targets: Query[];
    options: Options;
    fieldConfig: With<FieldConfigSource, { defaults: With<FieldConfig, { custom?: Custom }> }>;
}

type Stat = With<Panel, Drawn<"stat", StatOptions, never>>;
type TimeSeries = With<Panel, Drawn<"timeseries", TimeSeriesOptions, TimeSeriesFieldConfig>>;

export type Board = With<Dashboard, { uid: string; title: string; panels: (Stat | TimeSeries | Json<RowPanel>)[] }>;
