// How one model is served: an operator's whole form, or its owner's threshold. What is sent decides the studio.

import { Modal } from "antd";
import { useQuery } from "@tanstack/react-query";
import { servingQueries } from "../../api/servingQueries";
import { Loaded } from "../../widgets/Loaded";
import { SettingsForm } from "./SettingsForm";
import { useServingWords } from "./words";

/** Open while it has a model. */
export function SettingsDialog({ model, onClose }: { model: string | null; onClose: () => void }) {
  const words = useServingWords().settings;
  return (
    <Modal
      open={model !== null}
      title={words.title(model ?? "")}
      footer={null}
      onCancel={onClose}
      width={760}
      destroyOnHidden
    >
      {model !== null && <Fetched model={model} onClose={onClose} />}
    </Modal>
  );
}

function Fetched({ model, onClose }: { model: string; onClose: () => void }) {
  const settings = useQuery({ ...servingQueries.settings(model), staleTime: 0, gcTime: 0 });
  return (
    <Loaded query={settings}>
      {(found) => <SettingsForm settings={found} onDone={onClose} />}
    </Loaded>
  );
}
