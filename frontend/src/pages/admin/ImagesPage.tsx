// What dev machines start from: registered by digest, with tools and flavors, offered or retired.

import { App, Button, Space } from "antd";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { post } from "../../api/client";
import { nodeQueries } from "../../api/nodeQueries";
import { queries } from "../../api/queries";
import type { RegisteredImage } from "../../api/shapes";
import { useWords } from "../../i18n";
import { CopyButton } from "../../widgets/CopyButton";
import { DataTable } from "../../widgets/DataTable";
import { EmptyState } from "../../widgets/EmptyState";
import { PlusOutlined } from "../../widgets/icons";
import { Loaded } from "../../widgets/Loaded";
import { PageHead } from "../../widgets/PageHead";
import { StateTag } from "../../widgets/StateTag";
import { NotFoundPage } from "../shell/NotFoundPage";
import { useAction } from "../useAction";
import { ImageDialog } from "./ImageDialog";

export function ImagesPage() {
  const { data: me } = useQuery(queries.me());
  if (!me) return null;
  return me.role === "member" ? <NotFoundPage /> : <ImagesView />;
}

function ImagesView() {
  const { text } = useWords();
  const words = text.images;
  const { col } = words;
  const images = useQuery(nodeQueries.images());
  const [asked, setAsked] = useState<RegisteredImage | "new" | null>(null);
  const add = (
    <Button type="primary" icon={<PlusOutlined />} onClick={() => setAsked("new")}>
      {words.register}
    </Button>
  );
  return (
    <div className="page">
      <PageHead title={words.title} lead={words.lead} actions={add} />
      <div className="panel flush">
        <Loaded query={images}>
          {(list) => (
            <DataTable<RegisteredImage>
              rowKey="name"
              dataSource={list}
              pagination={{ pageSize: 20, hideOnSinglePage: true }}
              locale={{ emptyText: <EmptyState title={words.empty} text={words.emptyText} /> }}
              columns={[
                {
                  title: col.image,
                  key: "image",
                  render: (_, image) => <ImageName image={image} />,
                },
                {
                  title: col.state,
                  key: "state",
                  render: (_, image) => (
                    <StateTag
                      state={image.is_active ? "ready" : "stopped"}
                      word={image.is_active ? words.offered : words.retired}
                    />
                  ),
                },
                {
                  title: col.tools,
                  key: "tools",
                  className: "mono",
                  render: (_, image) =>
                    Object.entries(image.tools).map(([name, port]) => (
                      <div key={name}>{`${name}=${port}`}</div>
                    )),
                },
                {
                  title: col.flavors,
                  key: "flavors",
                  render: (_, image) => image.flavors.join(", ") || words.allFlavors,
                },
                {
                  title: col.machines,
                  dataIndex: "num_machines",
                  align: "right",
                  className: "num",
                },
                {
                  title: col.nodes,
                  key: "nodes",
                  render: (_, image) => <Spread image={image} />,
                },
                {
                  key: "actions",
                  align: "right",
                  title: <span className="visually-hidden">{text.more}</span>,
                  render: (_, image) => (
                    <ImageActions image={image} onChange={() => setAsked(image)} />
                  ),
                },
              ]}
            />
          )}
        </Loaded>
      </div>
      <ImageDialog asked={asked} onClose={() => setAsked(null)} />
    </div>
  );
}

function ImageName({ image }: { image: RegisteredImage }) {
  return (
    <>
      <b>{image.title}</b> <span className="mono muted">{image.name}</span>
      <div className="mono muted small" title={image.reference}>
        {image.reference.replace(/([0-9a-f]{12})[0-9a-f]{52}$/, "$1…")}
        <CopyButton text={image.reference} size="small" />
      </div>
    </>
  );
}

function Spread({ image }: { image: RegisteredImage }) {
  const { text } = useWords();
  const words = text.images;
  if (image.nodes.length === 0) return <span className="muted">{words.noNodes}</span>;
  return image.nodes.map((node) => {
    if (node.has_it === null) {
      return (
        <div key={node.name}>
          <StateTag state="queued" word={words.hasMaybe(node.name)} />
        </div>
      );
    }
    return (
      <div key={node.name}>
        <StateTag
          state={node.has_it ? "ready" : "failed"}
          word={node.has_it ? words.has(node.name) : words.hasNot(node.name)}
        />
      </div>
    );
  });
}

function ImageActions({ image, onChange }: { image: RegisteredImage; onChange: () => void }) {
  const { text } = useWords();
  const words = text.images;
  const { modal } = App.useApp();
  const { run } = useAction();
  const cache = useQueryClient();
  const refresh = async () => {
    await cache.invalidateQueries({ queryKey: nodeQueries.images().queryKey });
    await cache.invalidateQueries({ queryKey: ["machines"] });
  };
  const retire = () =>
    modal.confirm({
      title: words.retireTitle(image.name),
      content: words.retireText(image.num_machines),
      okText: words.retire,
      okButtonProps: { danger: true },
      onOk: () =>
        run(async () => {
          await post(`/api/machine-images/${image.name}/retire/`);
          await refresh();
        }),
    });
  const label = (verb: string) => `${verb}: ${image.name}`;
  return (
    <Space>
      <Button
        size="small"
        aria-label={label(image.is_active ? words.change : words.offer)}
        onClick={onChange}
      >
        {image.is_active ? words.change : words.offer}
      </Button>
      {image.is_active && (
        <Button size="small" danger type="text" aria-label={label(words.retire)} onClick={retire}>
          {words.retire}
        </Button>
      )}
    </Space>
  );
}
