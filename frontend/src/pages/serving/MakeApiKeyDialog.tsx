// Makes an API key, then shows it this one time.

import { Form, InputNumber, Select } from "antd";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { post } from "../../api/client";
import { queries } from "../../api/queries";
import type { NewApiKey } from "../../api/shapes";
import { MakeSecretDialog } from "../MakeSecretDialog";
import { useServingWords } from "./words";

interface Bounds {
  models: string[];
  points: number | null;
}

const UNBOUND: Bounds = { models: [], points: null };
const MPOINTS = 1000;

export function MakeApiKeyDialog({ isOpen, onClose }: { isOpen: boolean; onClose: () => void }) {
  const words = useServingWords().keys;
  const cache = useQueryClient();
  const models = useQuery({ ...queries.playgroundModels(), enabled: isOpen });

  return (
    <MakeSecretDialog
      words={words}
      isOpen={isOpen}
      onClose={onClose}
      initial={UNBOUND}
      make={async ({ points, ...values }) => {
        const body = { ...values, budget_mpoints: points ? Math.round(points * MPOINTS) : null };
        const { key } = await post<NewApiKey>("/api/api-keys/", body);
        await cache.invalidateQueries({ queryKey: ["api-keys"] });
        return key;
      }}
    >
      <Form.Item name="models" label={words.models} extra={words.modelsHint}>
        <Select
          mode="multiple"
          allowClear
          options={(models.data ?? []).map(({ id }) => ({ value: id, label: id }))}
        />
      </Form.Item>
      <Form.Item name="points" label={words.budget} extra={words.budgetHint}>
        <InputNumber min={0.001} max={1e12} suffix={words.points} style={{ width: "100%" }} />
      </Form.Item>
    </MakeSecretDialog>
  );
}
