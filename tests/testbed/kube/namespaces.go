package main

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/namespace/deletion"
)

// remaining is how long what is left of a namespace may take before it is looked at again.
const remaining = 50 * time.Millisecond

// namespaces empties and removes the namespaces that are being deleted. How is Kubernetes' own doing; its
// controller only waits five seconds before, for API servers that hear of the deletion late, and whole
// seconds for what is left. Here is one API server.
func namespaces(kubeconfig string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 500, 1000
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	objects, err := metadata.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx := context.Background()
	discover := client.Discovery().ServerPreferredNamespacedResources
	deleter := deletion.NewNamespacedResourcesDeleter(
		ctx, client.CoreV1().Namespaces(), objects, client.CoreV1(), discover, corev1.FinalizerKubernetes)

	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())
	enqueue := func(object any) {
		if namespace, ok := object.(*corev1.Namespace); ok && namespace.DeletionTimestamp != nil {
			queue.Add(namespace.Name)
		}
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	_, err = factory.Core().V1().Namespaces().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    enqueue,
		UpdateFunc: func(_, object any) { enqueue(object) },
	})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	for range 4 {
		go func() {
			for {
				name, _ := queue.Get()
				var left *deletion.ResourcesRemainingError
				switch err := deleter.Delete(ctx, name); {
				case err == nil:
					queue.Forget(name)
				case errors.As(err, &left):
					queue.AddAfter(name, remaining)
				default:
					klog.ErrorS(err, "a namespace is not deleted yet", "namespace", name)
					queue.AddRateLimited(name)
				}
				queue.Done(name)
			}
		}()
	}
	return nil
}
